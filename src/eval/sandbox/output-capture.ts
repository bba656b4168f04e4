import type { Readable } from "node:stream";

/** How much of what was written is kept: enough to see what went wrong. */
const KEPT_BYTES = 8192;

/** Drains streams, keeps their beginning, and tells when they bring too much. */
export class OutputCapture {
  /** Resolves when the streams have brought more than `mostBytes` together. */
  readonly exceeded: Promise<void>;
  readonly #mostBytes: number;
  readonly #kept: Buffer[] = [];
  #bytes: number = 0;
  #onExceeded: () => void = () => undefined;

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
    this.exceeded = new Promise((resolve) => {
      this.#onExceeded = resolve;
    });
  }

  take(...streams: readonly Readable[]): void {
    for (const stream of streams) stream.on("data", (chunk: Buffer) => this.#add(chunk));
  }

  text(): string {
    return Buffer.concat(this.#kept).toString("utf8");
  }

  /** The last line that says something. */
  lastLine(): string | undefined {
    return this.text()
      .split("\n")
      .filter((line) => line.trim() !== "")
      .at(-1);
  }

  #add(chunk: Buffer): void {
    const room = KEPT_BYTES - this.#bytes;
    if (room > 0) this.#kept.push(chunk.subarray(0, room));
    this.#bytes += chunk.length;
    if (this.#bytes > this.#mostBytes) this.#onExceeded();
  }
}
