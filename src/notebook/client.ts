/** A client of one kernel, which it starts: Jupyter's protocol from the other side, without Python. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { MoescopeError } from "../errors.js";
import { MessageFormat, type WireMessage } from "./wire/message.js";
import type { Connection, Content, Header } from "./wire/protocol.js";
import { type Receiver, type Sender, zeromq } from "./wire/zeromq.js";

/** How long a kernel may take until it answers, in ms. */
const START_MS = 60_000;
/** How long it may take to end when asked to, in ms. */
const END_MS = 5000;

/** A message of the kernel, without its routing. */
export type KernelMessage = Pick<WireMessage, "header" | "content"> & { parent: Header };

export interface StartOptions {
  /** Folder that the kernel runs in. */
  cwd: string;
  /** Program and arguments for a connection file. */
  command(connectionFile: string): string[];
  /** Gets what the process itself writes, outside the protocol. */
  onLog?(text: string): void;
}

type Channel = "shell" | "control" | "stdin";

export class KernelClient {
  readonly process: ChildProcess;
  /** Every message of the kernel on the channel that all clients hear, in order. */
  onOutput: (message: KernelMessage) => void = () => {};
  /** Asks a person for a line. */
  onInput: ((prompt: string) => Promise<string>) | undefined;
  readonly #folder: string;
  readonly #format: MessageFormat;
  readonly #session: string = randomUUID();
  readonly #sockets: Record<Channel, Sender & Receiver> & { iopub: Receiver };
  readonly #replies = new Map<string, (message: KernelMessage) => void>();
  readonly #idle = new Map<string, () => void>();
  readonly #ended: Promise<undefined>;

  private constructor(process: ChildProcess, folder: string, connection: Connection) {
    this.process = process;
    this.#folder = folder;
    this.#ended = once(process, "exit").then(() => undefined);
    this.#format = new MessageFormat(connection);
    const { Dealer, Subscriber } = zeromq();
    const iopub = new Subscriber();
    iopub.receiveHighWaterMark = 0;
    iopub.subscribe();
    this.#sockets = { iopub, shell: new Dealer(), control: new Dealer(), stdin: new Dealer() };
    for (const [name, socket] of Object.entries(this.#sockets)) {
      const port = connection[`${name}_port` as keyof Connection];
      // Answers to input find their way by the identity that the request on the shell channel came from.
      if (name !== "iopub") Object.assign(socket, { routingId: this.#session });
      socket.linger = 0;
      socket.connect(`${connection.transport}://${connection.ip}:${port}`);
    }
    for (const channel of ["shell", "control", "stdin"] as const) void this.#receive(channel);
    void this.#listen();
  }

  /** Starts a kernel and waits until it answers. @throws MoescopeError where it ends or does not answer */
  static async start({ cwd, command, onLog }: StartOptions): Promise<KernelClient> {
    const folder = mkdtempSync(join(tmpdir(), "moescope-kernel-"));
    const connection = await newConnection();
    const file = join(folder, "connection.json");
    writeFileSync(file, JSON.stringify(connection), { mode: 0o600 });
    const [program, ...args] = command(file);
    const child = spawn(program!, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        log = (log + text).slice(-2000);
        onLog?.(text);
      });
    }
    const client = new KernelClient(child, folder, connection);
    const ended = once(child, "exit").then(() => "ended" as const);
    const answer = await Promise.race([client.#untilReady(), ended, delay(START_MS, "late" as const, { ref: false })]);
    if (answer === "ready") return client;
    await client.kill();
    throw new MoescopeError(
      "INTERNAL",
      `The kernel ${answer === "ended" ? "ended" : "did not answer"} at its start: ${log.trim() || "it said nothing"}.`,
    );
  }

  /** Runs code and gives its reply when all its output has come. @throws MoescopeError INTERNAL where the kernel dies */
  async execute(code: string, options: Content = {}): Promise<KernelMessage> {
    const content = {
      code,
      silent: false,
      store_history: true,
      user_expressions: {},
      allow_stdin: this.onInput !== undefined,
      stop_on_error: true,
      ...options,
    };
    return this.request("execute_request", content);
  }

  /** Sends a request and gives its reply, after the idle status that follows it. */
  async request(msgType: string, content: Content = {}, channel: Channel = "shell"): Promise<KernelMessage> {
    const header = this.#header(msgType);
    const answered = new Promise<KernelMessage>((resolve) => this.#replies.set(header.msg_id, resolve));
    const idle = new Promise<void>((resolve) => this.#idle.set(header.msg_id, resolve));
    await this.#sockets[channel].send(this.#encode(header, content));
    try {
      const message = await Promise.race([Promise.all([answered, idle]), this.#ended]);
      if (message === undefined) throw new MoescopeError("INTERNAL", `The kernel ended while it answered ${msgType}.`);
      return message[0] as KernelMessage;
    } finally {
      this.#replies.delete(header.msg_id);
      this.#idle.delete(header.msg_id);
    }
  }

  /** Stops the cell that runs. */
  async interrupt(): Promise<void> {
    await this.request("interrupt_request", {}, "control");
  }

  /** Ends the kernel and all that belongs to it. */
  async shutdown(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, "exit");
      void this.request("shutdown_request", { restart: false }, "control").catch(() => {});
      await Promise.race([ended, delay(END_MS, undefined, { ref: false })]);
    }
    await this.kill();
  }

  /** Ends the process at once, with whatever it was doing. */
  async kill(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, "exit");
      this.process.kill("SIGKILL");
      await ended;
    }
    for (const socket of Object.values(this.#sockets)) socket.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Until the kernel has answered and its outputs are heard; a subscription takes effect late, so it is asked again. */
  async #untilReady(): Promise<"ready"> {
    for (;;) {
      const isHeard = await Promise.race([this.request("kernel_info_request"), delay(1000, undefined, { ref: false })]);
      if (isHeard !== undefined) return "ready";
    }
  }

  async #receive(channel: Channel): Promise<void> {
    for await (const frames of this.#sockets[channel]) {
      const { header, parent, content } = this.#format.decode(frames) as KernelMessage;
      if (header.msg_type === "input_request") {
        const value = (await this.onInput?.(String(content.prompt))) ?? "";
        await this.#sockets.stdin.send(this.#encode(this.#header("input_reply"), { value }));
      } else this.#replies.get(parent.msg_id)?.({ header, parent, content });
    }
  }

  async #listen(): Promise<void> {
    for await (const frames of this.#sockets.iopub) {
      const { header, parent, content } = this.#format.decode(frames) as KernelMessage;
      this.onOutput({ header, parent, content });
      if (header.msg_type === "status" && content.execution_state === "idle") this.#idle.get(parent.msg_id)?.();
    }
  }

  #header(msg_type: string): Header {
    const date = new Date().toISOString();
    return { msg_id: randomUUID(), msg_type, session: this.#session, username: "moescope", date, version: "5.3" };
  }

  #encode(header: Header, content: Content): (Uint8Array | string)[] {
    return this.#format.encodeParts([], header, {}, content);
  }
}

/** A connection on ports that are free now. */
async function newConnection(): Promise<Connection> {
  const servers = await Promise.all(
    Array.from({ length: 5 }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  const [shell_port, iopub_port, stdin_port, control_port, hb_port] = ports as [number, number, number, number, number];
  const key = randomBytes(16).toString("hex");
  const where = { transport: "tcp", ip: "127.0.0.1", key, signature_scheme: "hmac-sha256" };
  return { ...where, shell_port, iopub_port, stdin_port, control_port, hb_port };
}
