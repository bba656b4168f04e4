/**
 * A kernel under test and what it says. With MOESCOPE_TEST_KERNEL=tslab it is plain tslab 1.0.22, on which each test of
 * `faults.test.ts` must fail.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../../src/native/addon.js";
import { KernelClient, type KernelMessage } from "../../../src/notebook/client.js";
import { kernelCommand } from "../../../src/notebook/kernel-process.js";
import type { Content } from "../../../src/notebook/wire/protocol.js";

export const isPlainTslab: boolean = process.env.MOESCOPE_TEST_KERNEL === "tslab";

export const plainTslab = (file: string): string[] => [
  process.execPath,
  "--disable-warning=ExperimentalWarning",
  join(packageRoot(), "node_modules", "tslab", "bin", "tslab"),
  "kernel",
  "--config-path",
  file,
];

/** What one cell said and how it ended. */
export interface CellRun {
  reply: KernelMessage;
  messages: KernelMessage[];
  /** All of stdout. */
  stdout: string;
  seconds: number;
}

export class TestKernel {
  readonly client: KernelClient;
  readonly folder: string;
  readonly messages: KernelMessage[] = [];
  readonly #isOwnFolder: boolean;

  private constructor(client: KernelClient, folder: string, isOwnFolder: boolean) {
    this.client = client;
    this.folder = folder;
    this.#isOwnFolder = isOwnFolder;
    client.onOutput = (message) => this.messages.push(message);
  }

  /** Starts a kernel in `folder`, or in an empty one that goes with it; for plain tslab the package is installed there. */
  static async start(folder?: string, command = isPlainTslab ? plainTslab : kernelCommand): Promise<TestKernel> {
    const cwd = folder ?? mkdtempSync(join(tmpdir(), "moescope-notebook-"));
    if (folder === undefined && command === plainTslab) {
      mkdirSync(join(cwd, "node_modules"));
      symlinkSync(packageRoot(), join(cwd, "node_modules", "moescope"));
    }
    const client = await KernelClient.start({ cwd, command });
    return new TestKernel(client, cwd, folder === undefined);
  }

  async run(code: string, options: Content = {}): Promise<CellRun> {
    const started = performance.now();
    const reply = await this.client.execute(code, options);
    const messages = this.of(reply.parent.msg_id);
    return { reply, messages, stdout: streamOf(messages, "stdout"), seconds: (performance.now() - started) / 1000 };
  }

  /** Runs a cell and interrupts it after `ms`, or when the condition holds; `seconds` counts from then. */
  async interrupted(code: string, when: number | (() => boolean) = 600): Promise<CellRun> {
    let asked = 0;
    const interrupt = (): void => {
      asked = performance.now();
      // Plain tslab knows no interrupt message; its kernelspec lets Jupyter send the signal.
      if (isPlainTslab) this.client.process.kill("SIGINT");
      else void this.client.interrupt();
    };
    const timer =
      typeof when === "number"
        ? setTimeout(interrupt, when)
        : setInterval(() => {
            if (!when()) return;
            clearInterval(timer);
            interrupt();
          }, 5);
    const run = await this.run(code);
    clearTimeout(timer);
    return { ...run, seconds: (performance.now() - asked) / 1000 };
  }

  /** Messages that answer a request. */
  of(id: string): KernelMessage[] {
    return this.messages.filter(({ parent }) => parent?.msg_id === id);
  }

  async stop(): Promise<void> {
    await this.client.shutdown();
    if (this.#isOwnFolder) rmSync(this.folder, { recursive: true, force: true });
  }
}

export function streamOf(messages: readonly KernelMessage[], name: "stdout" | "stderr"): string {
  return messages
    .filter(({ header, content }) => header.msg_type === "stream" && content.name === name)
    .map(({ content }) => content.text)
    .join("");
}

export function typesOf(messages: readonly KernelMessage[]): string[] {
  return messages.map(({ header }) => header.msg_type);
}

/** The content of the one message of a type. */
export function only(messages: readonly KernelMessage[], type: string): Content {
  const found = messages.filter(({ header }) => header.msg_type === type);
  if (found.length !== 1) throw new Error(`Expected one ${type}, got ${found.length}: ${typesOf(messages).join(", ")}`);
  return found[0]!.content;
}
