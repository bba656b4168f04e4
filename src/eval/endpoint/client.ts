import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import PQueue from "p-queue";
import { AbortError, describe, invalidArgument, MoescopeError } from "../../errors.js";

/**
 * JSON over HTTP for requests that take minutes and servers that are busy: a bounded number in flight, a time limit for each, and
 * patience where the server says "later". Node's `fetch` gives up on an answer that does not begin within 300 s.
 */
export interface ClientOptions {
  /** Up to and with the API's version, for example `http://localhost:8000/v1`. */
  baseUrl: string;
  /** Sent as a bearer token and never shown. */
  apiKey?: string;
  /** Requests in flight. Default 8. */
  concurrency?: number;
  /** Limit of one attempt in seconds. Default 600. */
  timeoutSeconds?: number;
  /** Attempts after the first, where it fails in a way that may pass: no connection, a time-out, status 408, 429 or 5xx. Default 6. */
  retries?: number;
  /** Wait before the second attempt in seconds; it doubles with each one, and a server's Retry-After counts instead. Default 1. */
  backoffSeconds?: number;
}

/** An answer that is not 2xx. */
export class StatusError extends MoescopeError {
  readonly status: number;

  constructor(status: number, message: string) {
    super("NETWORK", message);
    this.status = status;
  }
}

const MOST_WAIT_SECONDS = 60;
const MOST_BYTES = 64 * 2 ** 20;

interface Answer {
  status: number;
  text: string;
  retryAfter: string | undefined;
}

export class EndpointClient {
  readonly #base: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;
  readonly #retries: number;
  readonly #backoffMs: number;
  readonly #queue: PQueue;
  readonly #agent: http.Agent;

  constructor(options: ClientOptions) {
    const { concurrency = 8, timeoutSeconds = 600, retries = 6, backoffSeconds = 1, apiKey } = options;
    for (const [name, value, least] of [
      ["concurrency", concurrency, 1],
      ["retries", retries, 0],
    ] as const) {
      if (!Number.isInteger(value) || value < least)
        throw invalidArgument(name, `a whole number, at least ${least}`, value);
    }
    if (!(timeoutSeconds > 0)) throw invalidArgument("timeoutSeconds", "a number above 0", timeoutSeconds);
    this.#base = baseUrlOf(options.baseUrl);
    this.#headers = apiKey === undefined || apiKey === "" ? {} : { authorization: `Bearer ${apiKey}` };
    this.#timeoutMs = timeoutSeconds * 1000;
    this.#retries = retries;
    this.#backoffMs = backoffSeconds * 1000;
    this.#queue = new PQueue({ concurrency });
    const { Agent } = this.#base.protocol === "https:" ? https : http;
    this.#agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  }

  /** The address that requests go to, without credentials. */
  get url(): string {
    return this.#base.href.replace(/\/$/, "");
  }

  /**
   * Sends one request and gives the JSON that comes back.
   *
   * @throws StatusError for an answer that is not 2xx; MoescopeError NETWORK where none comes, BAD_FILE where it is no JSON;
   *   AbortError when `signal` fires.
   */
  async call(method: "GET" | "POST", path: string, body?: object, signal?: AbortSignal): Promise<unknown> {
    const answer = await this.#queue.add(() => this.#patiently(method, path, body, signal));
    try {
      return JSON.parse(answer.text);
    } catch (error) {
      const got = describe(answer.text);
      throw new MoescopeError("BAD_FILE", `Expected JSON from ${this.url}/${path}, got ${got}.`, { cause: error });
    }
  }

  async #patiently(method: string, path: string, body: object | undefined, signal?: AbortSignal): Promise<Answer> {
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#attempt(method, path, body, signal).catch((error: Error) => error);
      if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason });
      if (!(answer instanceof Error) && answer.status >= 200 && answer.status < 300) return answer;
      const mayPass = answer instanceof Error || [408, 429].includes(answer.status) || answer.status >= 500;
      if (!mayPass || attempt === this.#retries) throw this.#failure(path, answer, attempt + 1);
      const ms = waitMs(answer instanceof Error ? undefined : answer.retryAfter, this.#backoffMs * 2 ** attempt);
      await sleep(ms, undefined, { signal }).catch((error) => {
        throw new AbortError(undefined, { cause: error });
      });
    }
  }

  #attempt(method: string, path: string, body: object | undefined, signal?: AbortSignal): Promise<Answer> {
    const { request } = this.#base.protocol === "https:" ? https : http;
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const limit = AbortSignal.timeout(this.#timeoutMs);
    return new Promise((resolve, reject) => {
      const sent = request(
        `${this.url}/${path}`,
        {
          method,
          agent: this.#agent,
          signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
          headers: {
            ...this.#headers,
            accept: "application/json",
            ...(payload === undefined ? {} : { "content-type": "application/json", "content-length": payload.length }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on("data", (chunk: Buffer) => {
            chunks.push(chunk);
            bytes += chunk.length;
            if (bytes > MOST_BYTES) sent.destroy(new Error(`the answer is longer than ${MOST_BYTES} bytes`));
          });
          response.on("error", reject);
          response.on("end", () => {
            const { statusCode = 0, headers } = response;
            const text = Buffer.concat(chunks).toString("utf8");
            resolve({ status: statusCode, text, retryAfter: headers["retry-after"] });
          });
        },
      );
      sent.on("error", (error) =>
        reject(limit.aborted ? new Error(`no answer within ${this.#timeoutMs / 1000} s`) : error),
      );
      sent.end(payload);
    });
  }

  #failure(path: string, answer: Answer | Error, attempts: number): MoescopeError {
    const tries = attempts === 1 ? "" : ` in ${attempts} attempts`;
    if (answer instanceof Error) {
      const reason = answer.message || (answer as NodeJS.ErrnoException).code;
      return new MoescopeError("NETWORK", `Expected an answer from ${this.url}/${path}, got none${tries}: ${reason}.`, {
        cause: answer,
      });
    }
    const said = messageOf(answer.text);
    return new StatusError(
      answer.status,
      `Expected an answer from ${this.url}/${path}, got status ${answer.status}${tries}${said === "" ? "" : `: ${said}`}.`,
    );
  }
}

function baseUrlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw invalidArgument("endpoint", "an address such as http://localhost:8000/v1", text);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "") {
    throw invalidArgument("endpoint", "an address without a name, a password or a query in it", `${url.origin}/...`);
  }
  return url;
}

/** A server's wish in seconds or as a date; otherwise the doubling wait, a quarter more or less, so that callers spread. */
function waitMs(retryAfter: string | undefined, backoffMs: number): number {
  const seconds = retryAfter === undefined ? Number.NaN : Number(retryAfter);
  const wished = Number.isNaN(seconds) ? Date.parse(retryAfter ?? "") - Date.now() : 1000 * seconds;
  const ms = Number.isNaN(wished) ? backoffMs * (0.75 + 0.5 * Math.random()) : Math.max(0, wished);
  return Math.min(ms, 1000 * MOST_WAIT_SECONDS);
}

/** What a server says went wrong: OpenAI's `error.message`, or the beginning of whatever came. */
function messageOf(text: string): string {
  try {
    const body = JSON.parse(text) as { error?: { message?: unknown } | string; message?: unknown; detail?: unknown };
    const said = typeof body.error === "object" ? body.error?.message : (body.error ?? body.message ?? body.detail);
    if (typeof said === "string") return said.trim().replace(/\.$/, "").slice(0, 300);
  } catch {
    // Not JSON: its beginning is shown.
  }
  return text.trim().replace(/\s+/g, " ").slice(0, 120);
}
