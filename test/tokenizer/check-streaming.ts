import { StreamDecoder } from "../../src/tokenizer/stream-decoder.js";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.js";

export interface StreamRow {
  id: string;
  tokenizer: string;
  ids: number[];
  skip_special: boolean;
  strip_leading_space: boolean;
  pieces: string[];
  flush: string;
  text: string;
}

/** One line per row whose pieces, flush or whole decoding differ. */
export function streamDifferences(tokenizer: Tokenizer, rows: readonly StreamRow[]): string[] {
  return rows.flatMap((row) => {
    const options = { skipSpecial: row.skip_special, stripLeadingSpace: row.strip_leading_space };
    const decoder = new StreamDecoder(tokenizer, options);
    const pieces = row.ids.map((id) => decoder.push(id));
    const actual = JSON.stringify([pieces, decoder.flush(), tokenizer.decode(row.ids, options)]);
    const expected = JSON.stringify([row.pieces, row.flush, row.text]);
    return actual === expected ? [] : [`${row.id}: expected ${expected}, got ${actual}`];
  });
}
