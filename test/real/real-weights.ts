/** The two real checkpoints: where they are, or why a test cannot have them. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import { missingShared, sharedPath } from "../golden/shared.js";

export const QWEN = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
export const SMOLLM = "smollm2-135m-instruct-q4_1.gguf";

const folder =
  process.env.MOESCOPE_REAL_WEIGHTS ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "moescope", "real");

/** Path of a checkpoint, fetched once by the script beside the goldens; or the reason why there is none. */
export const realWeights: { path(name: string): string } | { reason: string } = (() => {
  const found = { path: (name: string) => join(folder, name) };
  const missing = missingShared("real-weights.sh");
  if (missing !== undefined)
    return [QWEN, SMOLLM].every((name) => existsSync(found.path(name))) ? found : { reason: missing };
  const script = spawnSync("bash", [sharedPath("real-weights.sh"), folder], { encoding: "utf8" });
  return script.status === 0
    ? found
    : { reason: script.stderr.trim() || `real-weights.sh ended with ${script.status}` };
})();

/** A `describe` that runs only where the real checkpoints and the goldens are; elsewhere one skipped test says why. */
export function describeWithRealWeights(
  name: string,
  goldens: string[],
  body: (path: (name: string) => string) => void,
): void {
  const reason = "reason" in realWeights ? realWeights.reason : missingShared(goldens);
  if (reason === undefined && "path" in realWeights) {
    const { path } = realWeights;
    describe(name, () => body(path));
    return;
  }
  console.warn(`Skipped: ${name}: ${reason}.`);
  describe(name, () => {
    it("needs real weights", (context) => context.skip(reason));
  });
}
