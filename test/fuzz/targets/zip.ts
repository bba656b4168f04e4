import { readZip } from "../../../src/eval/zip.js";
import { type FuzzTarget, fileWriter, fuzzTarget } from "../target.js";

const write = fileWriter("data.zip");

/** The archive of a benchmark. */
export const fuzz: FuzzTarget = fuzzTarget(async (data) => {
  await readZip(write(data), () => true, { maxEntryBytes: 1 << 20, maxTotalBytes: 1 << 22 });
});
