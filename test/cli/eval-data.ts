/** Word problems in GSM8K's form, made here, so that `eval` runs where the official data are not. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn"];

/** Writes gsm8k/test.jsonl and gsm8k/train.jsonl with `count` problems each below `folder`. */
export function writeProblems(folder: string, count: number): string {
  mkdirSync(join(folder, "gsm8k"), { recursive: true });
  for (const [split, offset] of [
    ["test", 0],
    ["train", 17],
  ] as const) {
    const lines = Array.from({ length: count }, (_, i) => {
      const [have, get] = [3 + ((i + offset) % 11), 2 + ((i * 7 + offset) % 13)];
      const name = NAMES[(i + offset) % NAMES.length]!;
      return JSON.stringify({
        question: `${name} has ${have} stones and finds ${get} more. How many stones does ${name} have?`,
        answer: `${have} + ${get} = ${have + get} stones.\n#### ${have + get}`,
      });
    });
    writeFileSync(join(folder, "gsm8k", `${split}.jsonl`), `${lines.join("\n")}\n`);
  }
  return folder;
}
