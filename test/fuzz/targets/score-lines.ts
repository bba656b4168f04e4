import { Readable } from "node:stream";
import { requestWindows } from "../../../src/cli/score-lines.js";
import { type FuzzTarget, fuzzTarget } from "../target.js";

/** The lines that `moescope score` reads. */
export const fuzz: FuzzTarget = fuzzTarget(async (data) => {
  for await (const window of requestWindows(Readable.from([data]), "requests.jsonl")) {
    if (window.length === 0) throw new Error("An empty window.");
  }
});
