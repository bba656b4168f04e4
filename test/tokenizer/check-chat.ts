import { readFileSync } from "node:fs";
import { type ChatMessage, ChatTemplate } from "../../src/tokenizer/chat-template.js";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.js";
import { GOLDEN } from "./goldens.js";

export interface ChatRow {
  id: string;
  template: string;
  tokenizer?: string;
  messages: ChatMessage[];
  tools?: unknown[];
  add_generation_prompt: boolean;
  rendered?: string;
  error?: { raised_by_template: boolean; message: string };
  ids?: number[];
  ids_safe?: number[];
  ids_no_space_after_special?: number[];
}

interface TemplateEntry {
  source: string;
  bos: string | null;
  eos: string | null;
  sha256: string;
}

/** The golden templates, by name. */
export function readTemplates(): Map<string, ChatTemplate> {
  const entries = JSON.parse(readFileSync(`${GOLDEN}/chat_templates.json`, "utf8")) as Record<string, TemplateEntry>;
  return new Map(
    Object.entries(entries).map(([name, { source, bos, eos, sha256 }]) => {
      const specialTokens = {
        ...(bos === null ? {} : { bos_token: bos }),
        ...(eos === null ? {} : { eos_token: eos }),
      };
      const template = new ChatTemplate(source, "caller", { specialTokens });
      if (template.sha256 !== sha256) throw new Error(`${name}: sha256 differs`);
      return [name, template];
    }),
  );
}

/** One line per row whose text or error differs. */
export function renderDifferences(rows: readonly ChatRow[], templates: ReadonlyMap<string, ChatTemplate>): string[] {
  return rows.flatMap((row) => {
    const options = { addGenerationPrompt: row.add_generation_prompt, tools: row.tools ?? null };
    let actual: string;
    try {
      actual = `text ${templates.get(row.template)!.render(row.messages, options).text}`;
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      actual =
        code === "INVALID_ARGUMENT" ? `error ${row.error?.raised_by_template === false ? "" : message}` : `${error}`;
    }
    const expected =
      row.error === undefined
        ? `text ${row.rendered}`
        : `error ${row.error.raised_by_template ? row.error.message : ""}`;
    return actual === expected
      ? []
      : [`${row.id}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`];
  });
}

/** One line per row whose ids differ from the safe ones (`ids_safe`, where they differ from parsing the whole text). */
export async function idDifferences(
  rows: readonly ChatRow[],
  templates: ReadonlyMap<string, ChatTemplate>,
  tokenizer: Tokenizer,
): Promise<string[]> {
  const found: string[] = [];
  for (const row of rows) {
    if (row.ids === undefined) continue;
    const withoutSpace = tokenizer.stripsLeadingSpace && !tokenizer.spaceAfterSpecial;
    const expected = withoutSpace ? row.ids_no_space_after_special : (row.ids_safe ?? row.ids);
    // Of conversations with injected tokens only the ids with the space are known.
    if (expected === undefined || (withoutSpace && row.ids_safe !== undefined)) continue;
    const options = { addGenerationPrompt: row.add_generation_prompt, tools: row.tools ?? null };
    const { ids } = await templates.get(row.template)!.encode(tokenizer, row.messages, options);
    if (JSON.stringify([...ids]) !== JSON.stringify(expected)) {
      found.push(`${row.id}: expected ${expected.join(" ")}, got ${ids.join(" ")}`.slice(0, 800));
    }
  }
  return found;
}
