import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex, Readable } from "node:stream";

/** How a backend starts Python: what to execute, before Python's own arguments. */
export interface Launch {
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** An existing folder of the caller's file system. */
  cwd: string;
  /** User and group to run as, where the caller may choose. */
  uid?: number;
  gid?: number;
  /** What the command itself reads from descriptor 5, to its end. */
  input?: Buffer;
}

const INPUT_DESCRIPTOR = 5;
/** How long the output of a process that has ended may go on. */
const LINGER_MS = 1000;

/** One of the two processes of a run, in a process group of its own. */
export class Side {
  readonly #child: ChildProcess;
  /** Resolves when the process has ended and all its streams are closed; never rejects. */
  readonly closed: Promise<{ code: number | null; signal: NodeJS.Signals | null; failure?: Error }>;

  constructor(launch: Launch, pythonArgs: readonly string[], stdio: readonly ("ignore" | "pipe")[]) {
    const { command, args, env, cwd, uid, gid, input } = launch;
    const descriptors = Array.from({ length: INPUT_DESCRIPTOR }, (_, i) => stdio[i] ?? "ignore");
    const child = spawn(command, [...args, ...pythonArgs], {
      ...{ env: { ...env }, cwd, uid, gid, detached: true },
      stdio: input === undefined ? descriptors : [...descriptors, "pipe"],
    });
    this.#child = child;
    this.closed = new Promise((resolve) => {
      let failure: Error | undefined;
      child.on("error", (error) => {
        failure = error;
        if (child.pid === undefined) resolve({ code: null, signal: null, failure });
      });
      // What has left the group without a sandbox around it may hold our pipes open for ever.
      child.on("exit", () => setTimeout(() => this.#hangUp(0, 1, 2), LINGER_MS).unref());
      child.on("close", (code, signal) => resolve({ code, signal, failure }));
    });
    // A process that has ended leaves broken pipes behind; `closed` tells of it.
    for (const stream of child.stdio) stream?.on("error", () => undefined);
    if (input !== undefined) this.line(INPUT_DESCRIPTOR).end(input);
  }

  /** A descriptor that is a pipe both ways. */
  line(descriptor: number): Duplex {
    return this.#child.stdio[descriptor as 3] as Duplex;
  }

  /** A descriptor that the process writes. */
  readable(descriptor: number): Readable {
    return this.#child.stdio[descriptor as 1] as Readable;
  }

  /** Ends the process and its group; what it has printed can still be read. A backend sees to what has left the group. */
  kill(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, "SIGKILL");
    } catch {
      this.#child.kill("SIGKILL");
    }
    // A line that waits for the other side to read would wait for ever.
    this.#hangUp(3, 4);
  }

  #hangUp(...descriptors: number[]): void {
    for (const descriptor of descriptors) this.#child.stdio[descriptor as 3]?.destroy();
  }
}

/** The next line of a stream, which is then paused; undefined where it ends or `mostBytes` hold no line end. */
export function nextLine(stream: Readable, mostBytes: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (line: string | undefined): void => {
      stream.off("data", take).off("end", end).off("close", end).pause();
      resolve(line);
    };
    const end = (): void => finish(undefined);
    const take = (chunk: Buffer): void => {
      const lineEnd = chunk.indexOf(10);
      chunks.push(chunk);
      bytes += chunk.length;
      if (lineEnd >= 0) {
        const rest = chunk.subarray(lineEnd + 1);
        finish(Buffer.concat(chunks).toString("utf8", 0, bytes - rest.length - 1));
        if (rest.length > 0) stream.unshift(rest);
      } else if (bytes > mostBytes) end();
    };
    if (stream.destroyed || stream.readableEnded) resolve(undefined);
    else stream.on("data", take).on("end", end).on("close", end);
  });
}
