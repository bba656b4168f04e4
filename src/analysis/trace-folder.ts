import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { RouterTrace } from "../router/trace.js";
import { loadTrace } from "../router/trace-files.js";

const PART = /^part-(\d+)\.(parquet|arrow)$/;

/**
 * The traces of a folder that a run or `moescope trace` wrote, one file at a time, in order: what `analyze` takes where they are larger
 * than memory. Throws NOT_FOUND for a folder that is not there or holds no traces, BAD_FILE for a part that is no trace.
 */
export async function* readTraces(folder: string): AsyncGenerator<RouterTrace> {
  const names = await readdir(folder).catch((error) => {
    throw fromSystemError(error, `read the trace folder ${folder}`);
  });
  const parts = names.flatMap((name) => {
    const number = PART.exec(name)?.[1];
    return number === undefined ? [] : [{ name, number: Number(number) }];
  });
  if (parts.length === 0) {
    throw new MoescopeError("NOT_FOUND", `Expected traces (part-00000.parquet) in ${folder}, found none.`);
  }
  for (const { name } of parts.sort((a, b) => a.number - b.number)) yield await loadTrace(join(folder, name));
}
