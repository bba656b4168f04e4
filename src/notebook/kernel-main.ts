/** The kernel as Jupyter starts it: `node kernel-main.js CONNECTION_FILE`. */
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { MoescopeError } from "../errors.js";
import { currentCell } from "./cell.js";
import { Kernel, kernelInfo } from "./kernel.js";
import { resolveOptional } from "./optional.js";
import { type Connection, type Incoming, type Outgoing, SHARED_SLOTS } from "./wire/protocol.js";
import type { WireData } from "./wire/wire-worker.js";

/** How long what is left to say may take at the end, in ms. */
const CLOSE_MS = 1500;

/**
 * How far the heap grows beyond what is in use before it is collected, in percent. Each cell leaves megabytes of the compiler's garbage;
 * V8 by itself lets them pile up to four times what lives.
 */
const HEAP_GROWTH_PERCENT = 30;

function main(connectionFile: string): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
  const connection = JSON.parse(readFileSync(connectionFile, "utf8")) as Connection;
  const shared = new Int32Array(new SharedArrayBuffer(4 * SHARED_SLOTS));
  const info = kernelInfo(typescriptVersion());
  const workerData: WireData = { connection, shared, kernelInfo: info };
  const wire = new Worker(new URL("./wire/wire-worker.js", import.meta.url), { workerData });
  const post = (message: Outgoing): void => wire.postMessage(message);
  const waiting: Incoming[] = [];
  let kernel: Kernel | undefined;
  wire.on("error", (error) => {
    process.stderr.write(`${error instanceof MoescopeError ? error.message : error.stack}\n`);
    exit(1);
  });
  wire.on("message", (message: Incoming) => {
    if (kernel === undefined) waiting.push(message);
    else if (message.kind === "shutdown") void shutDown(kernel, wire, post);
    else if (message.kind !== "ready") kernel.receive(message);
  });
  post({ kind: "publish", msgType: "status", content: { execution_state: "starting" }, parent: undefined });
  kernel = new Kernel(process.cwd(), info, shared, post);
  keepProcess();
  for (const message of waiting) wire.emit("message", message);
}

const exit = process.exit.bind(process);

/** A cell that ends the process would take the whole notebook with it, without a word. */
function keepProcess(): void {
  process.exit = ((code?: number) => {
    if (currentCell() === undefined) exit(code);
    throw new MoescopeError(
      "UNSUPPORTED",
      "process.exit() was called in a cell: it would end the kernel and lose its state; shut the kernel down from the notebook instead.",
    );
  }) as typeof process.exit;
}

async function shutDown(kernel: Kernel, wire: Worker, post: (message: Outgoing) => void): Promise<void> {
  kernel.close();
  const closed = new Promise((resolve) => wire.once("exit", resolve));
  post({ kind: "close" });
  await Promise.race([closed, delay(CLOSE_MS)]);
  endChildren();
  exit(0);
}

/** Programs that cells have started end with the kernel. */
function endChildren(): void {
  try {
    for (const thread of readdirSync("/proc/self/task")) {
      const children = readFileSync(`/proc/self/task/${thread}/children`, "utf8");
      for (const child of children.split(" ").filter(Boolean)) process.kill(Number(child), "SIGTERM");
    }
  } catch {
    // Not Linux: there the front end ends the process group.
  }
}

function typescriptVersion(): string {
  const fork = resolveOptional("@tslab/typescript-for-tslab/package.json", resolveOptional("tslab/dist/converter.js"));
  return (createRequire(import.meta.url)(fork) as { version: string }).version;
}

const [connectionFile] = process.argv.slice(2);
if (connectionFile === undefined) {
  process.stderr.write("Expected the path of a connection file; Jupyter starts the kernel with one.\n");
  exit(2);
} else main(connectionFile);
