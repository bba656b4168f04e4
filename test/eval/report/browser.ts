import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

/** Headless Chromium over its debugging pipe: a page is opened from disk, asked and photographed. */

export const CHROMIUM: string | undefined = ["chromium", "chromium-browser", "google-chrome"].find(
  (name) => spawnSync(name, ["--version"]).status === 0,
);

const FLAGS = [
  ...["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  ...["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"],
];

interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

export class Page {
  /** Addresses that the page asked for, its own first. */
  readonly requests: string[] = [];
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #waiting: Map<number, (message: Message) => void> = new Map();
  #session: string | undefined;
  #next = 1;

  private constructor() {
    this.#profile = mkdtempSync(join(tmpdir(), "moescope-chromium-"));
    const stdio = ["ignore", "ignore", "ignore", "pipe", "pipe"] as const;
    this.#child = spawn(CHROMIUM!, [...FLAGS, `--user-data-dir=${this.#profile}`], { stdio: [...stdio] });
    let rest = "";
    (this.#child.stdio[4] as Readable).setEncoding("utf8").on("data", (text: string) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop()!;
      for (const message of messages) this.#take(JSON.parse(message) as Message);
    });
  }

  /** A window of this width in CSS pixels. */
  static async open(url: string, width: number, height: number): Promise<Page> {
    const page = new Page();
    const { targetId } = await page.#send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await page.#send("Target.attachToTarget", { targetId, flatten: true });
    page.#session = sessionId as string;
    const metrics = { width, height, deviceScaleFactor: 1, mobile: false };
    await page.#send("Emulation.setDeviceMetricsOverride", metrics);
    await page.#send("Network.enable", {});
    await page.#send("Page.enable", {});
    await page.#send("Page.navigate", { url });
    return page;
  }

  /** The value of an expression; a promise is waited for. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.#send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (answer.exceptionDetails !== undefined) throw new Error(JSON.stringify(answer.exceptionDetails));
    return (answer.result as { value: unknown }).value;
  }

  /** A PNG of the page as far as `height` CSS pixels. */
  async photograph(width: number, height: number): Promise<Buffer> {
    const clip = { x: 0, y: 0, width, height, scale: 1 };
    const { data } = await this.#send("Page.captureScreenshot", { clip, captureBeyondViewport: true });
    return Buffer.from(data as string, "base64");
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #send(method: string, params: object): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error !== undefined) reject(new Error(`${method}: ${error.message}`));
        else resolve(result ?? {});
      });
    });
  }

  #take(message: Message): void {
    if (message.method === "Network.requestWillBeSent") {
      this.requests.push((message.params!.request as { url: string }).url);
    }
    if (message.id === undefined) return;
    this.#waiting.get(message.id)?.(message);
    this.#waiting.delete(message.id);
  }
}
