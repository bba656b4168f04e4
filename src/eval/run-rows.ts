import { createReadStream } from "node:fs";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { SampleRow } from "./row.js";

/**
 * Reads samples.jsonl line by line, so that memory does not grow with the run. A last line that is not whole is torn: the process
 * that wrote it was killed, and its sample is not done.
 *
 * @returns the number of bytes that are whole lines.
 * @throws MoescopeError BAD_FILE for a broken line that is not the last: the file was changed by something else.
 */
export async function readRows(path: string, onRow: (row: SampleRow) => void): Promise<number> {
  let rest: Buffer = Buffer.alloc(0);
  let whole = 0;
  let line = 0;
  let broken = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      rest = rest.length === 0 ? (chunk as Buffer) : Buffer.concat([rest, chunk as Buffer]);
      let end = rest.indexOf(10);
      while (end >= 0) {
        line++;
        const row = parseRow(rest.toString("utf8", 0, end));
        if (broken > 0) throw notARow(path, broken);
        if (row === undefined) broken = line;
        else {
          onRow(row);
          whole += end + 1;
        }
        rest = rest.subarray(end + 1);
        end = rest.indexOf(10);
      }
    }
  } catch (error) {
    throw fromSystemError(error, `read ${path}`);
  }
  return whole;
}

function parseRow(text: string): SampleRow | undefined {
  try {
    const row = JSON.parse(text, revive) as SampleRow;
    const isRow = typeof row.task === "string" && typeof row.sample_id === "string" && typeof row.scores === "object";
    return isRow ? row : undefined;
  } catch {
    return undefined;
  }
}

function notARow(path: string, line: number): MoescopeError {
  return new MoescopeError("BAD_FILE", `Expected a sample's row in line ${line} of ${path}, got something else.`);
}

/** Only `logprob` may be a number that JSON lacks. */
function revive(key: string, value: unknown): unknown {
  return key === "logprob" && typeof value === "string" ? Number(value) : value;
}
