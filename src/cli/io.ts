/** Where a command reads and writes, so that a test can run one inside its own process. */
import { addAbortSignal, type Readable, type Writable } from "node:stream";
import { AbortError, fromSystemError } from "../errors.js";

/** A stream for text; `isTTY` where a person looks at it. */
export type TextOutput = Writable & { isTTY?: boolean; columns?: number };
export type TextInput = Readable & { isTTY?: boolean };

/** The outside of a command. */
export interface Streams {
  stdout: TextOutput;
  stderr: TextOutput;
  stdin: TextInput;
  /** Aborts at Ctrl-C. */
  signal?: AbortSignal;
}

/** Streams as commands use them: output in order, a reader that left is no error, one signal for every reason to stop. */
export class Terminal {
  readonly stdin: TextInput;
  readonly stdout: TextOutput;
  readonly stderr: TextOutput;
  readonly signal: AbortSignal;
  readonly #stop: AbortController = new AbortController();
  #readerLeft = false;

  constructor({ stdin, stdout, stderr, signal }: Streams) {
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    this.signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    stdout.on("error", (error) => this.#failed(error));
    // Notes that nobody reads are not missed; each write to stdout reports its own fault.
    stderr.on("error", () => {});
  }

  /** Whether whoever read stdout has closed it, as `head` does: the work ends, and that is no fault. */
  get readerLeft(): boolean {
    return this.#readerLeft;
  }

  /** Writes text to stdout and waits until the stream takes more. Throws DISK_FULL where stdout is a file on a full disk. */
  async write(text: string): Promise<void> {
    if (this.#readerLeft || text === "") return;
    await new Promise<void>((resolve, reject) => {
      this.stdout.write(text, (error) => {
        if (error === null || error === undefined) resolve();
        else if ((error as NodeJS.ErrnoException).code === "EPIPE") {
          this.#failed(error);
          reject(new AbortError("The reader of the output has left."));
        } else reject(fromSystemError(error, "write to stdout"));
      });
    });
  }

  /** Writes a line to stdout. */
  print(text: string): Promise<void> {
    return this.write(`${text}\n`);
  }

  /** Writes a value as one line of JSON to stdout; typed arrays become lists. */
  printJson(value: unknown): Promise<void> {
    return this.print(toJson(value));
  }

  /** Writes a line to stderr. */
  note(text: string): void {
    this.stderr.write(`${text}\n`);
  }

  #failed(error: Error): void {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") return;
    this.#readerLeft = true;
    this.#stop.abort(error);
  }
}

/** JSON of plain values and typed arrays; numbers that JSON lacks become strings, as in run folders. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, field: unknown) => {
      if (typeof field === "number" && !Number.isFinite(field)) return String(field);
      if (ArrayBuffer.isView(field) && !(field instanceof DataView)) return Array.from(field as Int32Array);
      return field;
    },
    indent,
  );
}

/** All of stdin as text. @throws AbortError */
export async function readStdin(terminal: Terminal): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of addAbortSignal(terminal.signal, terminal.stdin)) chunks.push(Buffer.from(chunk as Buffer));
  return Buffer.concat(chunks).toString("utf8");
}
