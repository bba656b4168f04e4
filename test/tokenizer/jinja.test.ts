import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { JinjaTemplate } from "../../src/tokenizer/jinja/template.js";
import { GOLDEN, MISSING, readJsonl } from "./goldens.js";

interface JinjaRow {
  id: string;
  template: string;
  rendered?: string;
  error?: { kind: string; message: string };
}

function render(template: string, variables: Record<string, unknown> = {}): string {
  return new JinjaTemplate(template).render(variables).value;
}

describe.skipIf(MISSING)(`jinja2 snippets${MISSING ? `: ${MISSING}` : ""}`, () => {
  const context = MISSING ? {} : JSON.parse(readFileSync(`${GOLDEN}/jinja_context.json`, "utf8"));
  const rows = MISSING ? [] : readJsonl<JinjaRow>(`${GOLDEN}/jinja.jsonl`);

  test.each(rows.map((row) => [row.id, row] as const))("%s", (_, row) => {
    if (row.error === undefined) expect(render(row.template, context)).toBe(row.rendered);
    else if (row.error.kind.startsWith("Template") && row.error.kind !== "TemplateError") {
      expect(() => render(row.template, context)).toThrow();
    } else expect(() => render(row.template, context)).toThrow(row.error.message);
  });
});
