import { expect, test } from "vitest";
import { StreamDecoder } from "../../src/tokenizer/stream-decoder.js";
import { Tokenizer } from "../../src/tokenizer/tokenizer.js";
import { describeWithGoldens } from "../golden/shared.js";
import { type StreamRow, streamDifferences } from "./check-streaming.js";
import { GOLDEN, readJsonl, readTokenizerJson } from "./goldens.js";

describeWithGoldens("streaming", "golden", () => {
  const path = `${GOLDEN}/yi_like.tokenizer.json`;
  const load = (): Tokenizer => new Tokenizer(readTokenizerJson(path), path);

  test("golden rows of the stand-in vocabulary", () => {
    const rows = readJsonl<StreamRow>(`${GOLDEN}/streaming.jsonl`).filter((row) => row.tokenizer === "yi");
    expect(rows.length).toBeGreaterThan(60);
    expect(streamDifferences(load(), rows)).toEqual([]);
  });

  test("pieces and flush together are the whole text, whatever the tokens", () => {
    const tokenizer = load();
    let state = 12345;
    const next = (): number => (state = (state * 1103515245 + 12345) % 2147483648);
    for (let run = 0; run < 200; run++) {
      // Half of them byte tokens (ids 9 to 264): mostly broken UTF-8.
      const ids = Array.from({ length: 1 + (next() % 30) }, () => (next() % 2 ? 9 + (next() % 256) : next() % 6000));
      for (const skipSpecial of [false, true]) {
        const decoder = new StreamDecoder(tokenizer, { skipSpecial });
        const pieces = ids.map((id) => decoder.push(id));
        expect(pieces.join("") + decoder.flush()).toBe(tokenizer.decode(ids, { skipSpecial }));
      }
    }
  });

  test("a byte order mark is a character like any other", () => {
    const tokenizer = load();
    const mark = [0xef, 0xbb, 0xbf].map((byte) => 9 + byte);
    const decoder = new StreamDecoder(tokenizer);
    expect([...mark, ...mark].map((id) => decoder.push(id))).toEqual(["", "", "\uFEFF", "", "", "\uFEFF"]);
    expect(tokenizer.decode(mark)).toBe("\uFEFF");
  });

  test("a character of four bytes appears whole, with its last byte", () => {
    const tokenizer = load();
    const decoder = new StreamDecoder(tokenizer);
    const bytes = [0xf0, 0x9f, 0x98, 0x80].map((byte) => 9 + byte);
    expect(bytes.map((id) => decoder.push(id))).toEqual(["", "", "", "😀"]);
    expect(decoder.flush()).toBe("");
  });
});
