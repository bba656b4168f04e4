/** Sends what the cells' thread says, in order and without loss, and joins text that comes faster than people read. */
import { setTimeout as delay } from "node:timers/promises";
import type { MessageFormat } from "./message.js";
import type { Outgoing } from "./protocol.js";
import type { Sender } from "./zeromq.js";

/** Notebook servers drop output beyond some messages a second; text of one stream waits this long for more, in ms. */
const STREAM_INTERVAL_MS = 15;
/** Characters that one stream message holds at most. */
const STREAM_CHARACTERS = 1 << 18;

export class Outbox {
  readonly #queue: Exclude<Outgoing, { kind: "heard" | "close" }>[] = [];
  readonly #format: MessageFormat;
  readonly #sockets: Record<"iopub" | "shell" | "control" | "stdin", Sender>;
  #lastStream = 0;
  #pumping: Promise<void> | undefined;

  constructor(format: MessageFormat, sockets: Record<"iopub" | "shell" | "control" | "stdin", Sender>) {
    this.#format = format;
    this.#sockets = sockets;
  }

  put(message: Exclude<Outgoing, { kind: "heard" | "close" }>): void {
    this.#queue.push(message);
    this.#pumping ??= this.#pump().finally(() => {
      this.#pumping = undefined;
    });
  }

  /** Waits until everything was handed to the sockets. */
  async drained(): Promise<void> {
    while (this.#pumping !== undefined) await this.#pumping;
  }

  async #pump(): Promise<void> {
    let at = 0;
    while (at < this.#queue.length) {
      const message = this.#queue[at++]!;
      if (message.kind === "stream") {
        const wait = this.#lastStream + STREAM_INTERVAL_MS - performance.now();
        if (at === this.#queue.length && wait > 0) await delay(wait);
        const pieces = [message.text];
        let size = message.text.length;
        for (; at < this.#queue.length && size < STREAM_CHARACTERS; at++) {
          const next = this.#queue[at]!;
          if (next.kind !== "stream" || next.name !== message.name || next.parent.msg_id !== message.parent.msg_id)
            break;
          pieces.push(next.text);
          size += next.text.length;
        }
        this.#lastStream = performance.now();
        const content = { name: message.name, text: pieces.join("") };
        await this.#send("iopub", [], "stream", content, message.parent);
      } else if (message.kind === "publish") {
        await this.#send("iopub", [], message.msgType, message.content, message.parent);
      } else {
        const { channel, identities, header } = message.request;
        await this.#send(channel, identities, message.msgType, message.content, header);
      }
      // What was sent is let go of now and then, not message by message: removing the head of a long array is slow.
      if (at > 1000 || at === this.#queue.length) {
        this.#queue.splice(0, at);
        at = 0;
      }
    }
  }

  #send(
    channel: "iopub" | "shell" | "control" | "stdin",
    ...message: Parameters<MessageFormat["encode"]>
  ): Promise<void> {
    const frames = this.#format.encode(...message);
    // Subscribers filter by the first frame; the topic is free.
    return this.#sockets[channel].send(channel === "iopub" ? [`kernel.${message[1]}`, ...frames] : frames);
  }
}
