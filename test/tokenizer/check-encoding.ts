import type { Tokenizer } from "../../src/tokenizer/tokenizer.js";
import { type EncodeRow, expectedIds, textOf } from "./goldens.js";

function decodedText(row: EncodeRow, text: string): string {
  if (row.decoded_text !== undefined) return row.decoded_text;
  if (row.decoded === "nfc") return text.normalize("NFC");
  return row.decoded === "space+same" ? ` ${text}` : text;
}

/**
 * Compares a tokenizer with golden rows: every case's ids (cases that speak of another `space_after_special` are left out),
 * plain text again where no parsed case is given, and decoding. Returns one line per difference.
 */
export async function differences(tokenizer: Tokenizer, rows: readonly EncodeRow[]): Promise<string[]> {
  const found: string[] = [];
  const compare = (what: string, actual: unknown, expected: unknown): void => {
    const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
    if (a !== b) found.push(`${what}: expected ${b}, got ${a}`.slice(0, 600));
  };
  for (const row of rows) {
    const text = textOf(row);
    const cases = [...row.cases];
    if (!cases.some((c) => c.parse_special)) cases.push({ ...cases[0]!, parse_special: true });
    for (const [index, c] of cases.entries()) {
      if (c.space_after_special !== undefined && c.space_after_special !== tokenizer.spaceAfterSpecial) continue;
      const ids = await tokenizer.encode(text, { addSpecial: c.add_special, parseSpecial: c.parse_special });
      compare(`${row.id} case ${index}`, [...ids], expectedIds(c));
      if (index === 0) compare(`${row.id} decoded`, tokenizer.decode(ids), decodedText(row, text));
      if (c.parse_special && row.decoded_skip_special !== undefined) {
        if (c.space_after_special === false) continue;
        compare(`${row.id} skip`, tokenizer.decode(ids, { skipSpecial: true }), row.decoded_skip_special);
      }
    }
  }
  return found;
}
