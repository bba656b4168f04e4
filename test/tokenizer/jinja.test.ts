import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { JinjaTemplate } from "../../src/tokenizer/jinja/template.js";
import { describeWithGoldens } from "../golden/shared.js";
import { GOLDEN, readJsonl } from "./goldens.js";

interface JinjaRow {
  template: string;
  rendered?: string;
  error?: { kind: string; message: string };
}

function render(template: string, variables: Record<string, unknown>): string {
  return new JinjaTemplate(template).render(variables).value;
}

/** Rendered text must be equal; of errors, those that a template's author meant, or that name what is missing. */
function check(row: JinjaRow, context: Record<string, unknown>): void {
  if (row.error === undefined) expect(render(row.template, context)).toBe(row.rendered);
  else if (row.error.kind === "TemplateError" || row.error.kind === "UndefinedError") {
    expect(() => render(row.template, context)).toThrow(row.error.message);
  } else expect(() => render(row.template, context)).toThrow();
}

describeWithGoldens("golden snippets", "golden", () => {
  const context = JSON.parse(readFileSync(`${GOLDEN}/jinja_context.json`, "utf8"));
  const rows = readJsonl<JinjaRow & { id: string }>(`${GOLDEN}/jinja.jsonl`);

  test.each(rows.map((row) => [row.id, row] as const))("%s", (_, row) => check(row, context));
});

/** Our own snippets, with what Python's jinja2 3.1.6 made of them: see jinja2-outputs.py. */
describe("what jinja2 gives", () => {
  const context = {
    x: 5,
    f: 1.5,
    s: "Hello",
    e: "",
    n: null,
    t: true,
    l: [1, 2, 3],
    d: { a: 1, b: "two" },
    h: "<b>&\"'</b>",
    u: "é 中 😀",
    nested: [{ k: "v", n: { m: [1, "x"] } }],
    messages: [
      { role: "user", content: "hi" },
      { role: "assistant", content: "yo" },
    ],
  };
  const rows = JSON.parse(readFileSync(new URL("jinja2-outputs.json", import.meta.url), "utf8")) as JinjaRow[];

  test.each(rows.map((row) => [row.template, row] as const))("%s", (_, row) => check(row, context));
});

describe("a template from a hostile file, or hostile messages, cost little", () => {
  const data = { space: `a${" ".repeat(200_000)}b`, long: "😀".repeat(100_000) };

  test.each([
    ["{{ 'a' * 1000000000 }}", /characters/],
    ["{{ [1] * 1000000000 }}", /items/],
    ["{% for i in range(1000000000) %}{% endfor %}", /Range too big/],
    ["{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", /call stack/],
  ])("%s", (template, message) => {
    expect(() => render(template, {})).toThrow(message);
  });

  test.each([
    ["{{ space | trim | length }}", "200002"],
    ["{{ space.rstrip().split() | length }}", "2"],
    ["{{ long | length }} {{ long[-1] }} {{ long[5:7] }}", "100000 😀 😀😀"],
    ["{{ long.replace('😀', 'x') | length }}", "100000"],
  ])("%s", (template, rendered) => {
    const start = process.cpuUsage();
    expect(render(template, data)).toBe(rendered);
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(2);
  });
});
