/** node-llama-cpp, from a folder in which the user has installed it: driven from Node, as ours is, in a process of its own. */

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MoescopeError } from "../../errors.js";
import { packageRoot } from "../../native/addon.js";
import { runChild } from "./child.js";
import type { Contender, ContenderOptions } from "./contender.js";
import type { Work } from "./works.js";

export class NodeLlamaCpp implements Contender {
  readonly name: string = "node-llama-cpp";
  readonly description: Readonly<Record<string, unknown>>;
  readonly #entry: string;
  readonly #options: ContenderOptions;

  private constructor({ entry, version }: Installed, options: ContenderOptions) {
    this.#entry = entry;
    this.#options = options;
    this.description = { version, settings: "prebuilt binaries (build never), evaluate at temperature 0" };
  }

  /** Throws NOT_FOUND where the folder has no node-llama-cpp. */
  static check(folder: string): void {
    installedIn(folder);
  }

  static start(folder: string, options: ContenderOptions): NodeLlamaCpp {
    return new NodeLlamaCpp(installedIn(folder), options);
  }

  /** Load, one sequence at a time, and prefill; it has no call that scores choices or decodes several sequences in one batch. */
  async measure(work: Work, signal: AbortSignal): Promise<(number | null)[] | undefined> {
    if (work.kind === "score" || (work.kind === "decode" && work.sequences > 1)) return undefined;
    const script = join(packageRoot(), "dist", "src", "cli", "bench", "node-llama-cpp-probe.js");
    const request = { entry: this.#entry, ...this.#options, kind: work.kind, size: work.size };
    const { stdout, seconds, peakBytes } = await runChild(process.execPath, [script, JSON.stringify(request)], signal);
    const answer = JSON.parse(stdout.trim().split("\n").at(-1)!);
    return work.kind === "load" ? [answer.loadSeconds, seconds, peakBytes] : [answer.tokensPerSecond];
  }

  async close(): Promise<void> {}
}

interface Installed {
  /** URL of its entry. */
  entry: string;
  version: string;
}

function installedIn(folder: string): Installed {
  try {
    const home = join(resolve(folder), "node_modules", "node-llama-cpp");
    const { version, exports } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
    return { entry: pathToFileURL(join(home, exports["."].import)).href, version };
  } catch (cause) {
    throw new MoescopeError(
      "NOT_FOUND",
      `Expected node-llama-cpp in ${folder} (npm install node-llama-cpp), found none.`,
      { cause },
    );
  }
}
