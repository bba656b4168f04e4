/** node-llama-cpp, from a folder in which the user has installed it: driven from Node, as ours is, in a process of its own. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MoescopeError } from "../../errors.js";
import { runChild } from "./child.js";
import type { Contender, ContenderOptions } from "./contender.js";
import type { Work } from "./works.js";

export class NodeLlamaCpp implements Contender {
  readonly name: string = "node-llama-cpp";
  readonly description: Readonly<Record<string, unknown>>;
  readonly #entry: string;
  readonly #options: ContenderOptions;

  private constructor(entry: string, version: string, options: ContenderOptions) {
    this.#entry = entry;
    this.#options = options;
    this.description = { version, settings: "prebuilt binaries (build never), evaluate at temperature 0" };
  }

  static async start(folder: string, options: ContenderOptions, _signal: AbortSignal): Promise<NodeLlamaCpp> {
    try {
      const manifest = join(resolve(folder), "node_modules", "node-llama-cpp", "package.json");
      const { version } = JSON.parse(readFileSync(manifest, "utf8"));
      const entry = createRequire(manifest).resolve("node-llama-cpp");
      return new NodeLlamaCpp(pathToFileURL(entry).href, version, options);
    } catch (cause) {
      throw new MoescopeError(
        "NOT_FOUND",
        `Expected node-llama-cpp in ${folder} (npm install node-llama-cpp), found none.`,
        { cause },
      );
    }
  }

  /** Load, one sequence at a time, and prefill; it has no call that scores choices or decodes several sequences in one batch. */
  async measure(work: Work, signal: AbortSignal): Promise<(number | null)[] | undefined> {
    if (work.kind === "score" || (work.kind === "decode" && work.sequences > 1)) return undefined;
    const script = fileURLToPath(new URL("./node-llama-cpp-probe.js", import.meta.url));
    const request = { entry: this.#entry, ...this.#options, kind: work.kind, size: work.size };
    const { stdout, seconds, peakBytes } = await runChild(process.execPath, [script, JSON.stringify(request)], signal);
    const answer = JSON.parse(stdout.trim().split("\n").at(-1)!);
    return work.kind === "load" ? [answer.loadSeconds, seconds, peakBytes] : [answer.tokensPerSecond];
  }

  async close(): Promise<void> {}
}
