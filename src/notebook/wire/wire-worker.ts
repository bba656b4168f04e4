/** The thread that holds the sockets: it answers heartbeats and interrupts, and takes output, while the cells' thread is busy. */
import { setTimeout as delay } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { MessageFormat } from "./message.js";
import { Outbox } from "./outbox.js";
import type { Connection, Content, Incoming, Outgoing, Request } from "./protocol.js";
import { Watchdog } from "./watchdog.js";
import { type Receiver, type Sender, zeromq } from "./zeromq.js";

/** How long the cells' thread may take to end before the process is killed, in ms. */
const SHUTDOWN_MS = 3000;
/** How often the process looks whether the one that started it is still there, in ms. */
const PARENT_POLL_MS = 1000;

export interface WireData {
  connection: Connection;
  shared: Int32Array;
  /** The answer to kernel_info_request, which also comes on the control channel while a cell runs. */
  kernelInfo: Content;
}

class Wire {
  readonly #port: NonNullable<typeof parentPort>;
  readonly #data: WireData;
  readonly #format: MessageFormat;
  readonly #sockets: { iopub: Sender } & Record<"shell" | "control" | "stdin" | "hb", Sender & Receiver>;
  readonly #outbox: Outbox;
  readonly #watchdog: Watchdog;
  #closing = false;

  constructor(port: NonNullable<typeof parentPort>, data: WireData) {
    this.#port = port;
    this.#data = data;
    this.#format = new MessageFormat(data.connection);
    const { Publisher, Router, Reply } = zeromq();
    this.#sockets = {
      iopub: new Publisher(),
      shell: new Router(),
      control: new Router(),
      stdin: new Router(),
      hb: new Reply(),
    };
    this.#outbox = new Outbox(this.#format, this.#sockets);
    this.#watchdog = new Watchdog(data.shared, (kind, id) => this.#tell({ kind, id }));
  }

  async start(): Promise<void> {
    const { transport, ip, ...ports } = this.#data.connection;
    const separator = transport === "ipc" ? "-" : ":";
    for (const [name, socket] of Object.entries(this.#sockets)) {
      socket.linger = 1000;
      // Unbounded queues: the default of 1000 messages drops what a fast cell shows, its end included.
      socket.sendHighWaterMark = 0;
      if (name !== "iopub") (socket as Sender & Receiver).receiveHighWaterMark = 0;
      await socket.bind(`${transport}://${ip}${separator}${ports[`${name}_port` as keyof typeof ports]}`);
    }
    this.#port.on("message", (message: Outgoing) => this.#fromCells(message));
    void this.#echo();
    for (const channel of ["shell", "control", "stdin"] as const) void this.#receive(channel);
    this.#watchParent();
    this.#tell({ kind: "ready" });
  }

  #tell(message: Incoming): void {
    this.#port.postMessage(message);
  }

  #fromCells(message: Outgoing): void {
    if (message.kind === "heard") this.#watchdog.heard(message.id);
    else if (message.kind === "close") void this.#close();
    else this.#outbox.put(message);
  }

  async #echo(): Promise<void> {
    for await (const frames of this.#sockets.hb) await this.#sockets.hb.send(frames);
  }

  async #receive(channel: Request["channel"]): Promise<void> {
    for await (const frames of this.#sockets[channel]) {
      let request: Request;
      try {
        const { identities, header, content } = this.#format.decode(frames);
        request = { channel, identities, header, content };
      } catch {
        continue; // not a message of a client of ours
      }
      if (channel === "control") this.#control(request);
      else this.#tell({ kind: "request", request });
    }
  }

  /** Control messages are answered here, whatever the cells' thread does. */
  #control(request: Request): void {
    const publish = (execution_state: string) =>
      this.#outbox.put({ kind: "publish", msgType: "status", content: { execution_state }, parent: request.header });
    const reply = (msgType: string, content: Content) => this.#outbox.put({ kind: "reply", msgType, content, request });
    publish("busy");
    switch (request.header.msg_type) {
      case "interrupt_request":
        this.#watchdog.interrupt();
        reply("interrupt_reply", { status: "ok" });
        break;
      case "kernel_info_request":
        reply("kernel_info_reply", this.#data.kernelInfo);
        break;
      case "shutdown_request":
        reply("shutdown_reply", { status: "ok", restart: request.content.restart === true });
        publish("idle");
        this.#shutdown(request.content.restart === true);
        return;
      default:
        break; // an unknown request has no reply
    }
    publish("idle");
  }

  #shutdown(restart: boolean): void {
    this.#tell({ kind: "shutdown", restart });
    this.#watchdog.interrupt();
    // Whatever still holds the process then, a native call included, does not outlive it.
    setTimeout(() => process.kill(process.pid, "SIGKILL"), SHUTDOWN_MS).unref();
  }

  /** A kernel whose server died would run for ever. */
  #watchParent(): void {
    const parent = process.ppid;
    if (parent === 1) return;
    setInterval(() => {
      if (process.ppid !== parent) this.#shutdown(false);
    }, PARENT_POLL_MS).unref();
  }

  async #close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    await this.#outbox.drained();
    await delay(20);
    for (const socket of Object.values(this.#sockets)) socket.close();
    this.#port.close();
  }
}

// A fault here ends the process: `error` of the worker reaches the cells' thread.
if (parentPort !== null) void new Wire(parentPort, workerData as WireData).start();
