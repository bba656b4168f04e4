import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A server of ours that speaks OpenAI's API, with faults on demand. Its model is a table: text in, text out. */

export interface Asked {
  path: string;
  body: Record<string, unknown>;
  authorization: string | undefined;
}

export interface Behaviour {
  /** Answers instead of the API; undefined to let the API answer. */
  before?: (asked: Asked, nth: number) => Reply | undefined;
  /** The text that is generated for a prompt or the last message. */
  generate?: (prompt: string, body: Record<string, unknown>) => string;
  /** Log-probability of a character that is echoed, by its place. Absent: the server does not echo. */
  logprob?: (prompt: string, at: number) => number;
  models?: object[];
}

export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: unknown;
  /** No answer at all: hang up, or wait. */
  fault?: "hang-up" | "silence";
}

export interface FakeServer {
  url: string;
  asked: Asked[];
  mostActive: number;
  close(): Promise<void>;
}

export async function startServer(behaviour: Behaviour): Promise<FakeServer> {
  const asked: Asked[] = [];
  let active = 0;
  const state: FakeServer = { url: "", asked, mostActive: 0, close: () => closed(server) };
  const server = createServer(async (request, response) => {
    state.mostActive = Math.max(state.mostActive, ++active);
    response.once("close", () => active--);
    const one = { path: request.url!, body: await bodyOf(request), authorization: request.headers.authorization };
    asked.push(one);
    await new Promise((done) => setTimeout(done, 2));
    const reply = behaviour.before?.(one, asked.length) ?? { body: answer(one, behaviour) };
    if (reply.fault === "hang-up") request.socket.destroy();
    else if (reply.fault === undefined) send(response, reply);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return state;
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function send(response: ServerResponse, { status = 200, headers = {}, body }: Reply): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

function answer({ path, body }: Asked, { generate, logprob, models }: Behaviour): unknown {
  if (path === "/v1/models") return { data: models ?? [{ id: "table", owned_by: "ours", max_model_len: 4096 }] };
  const messages = body.messages as { content: string }[] | undefined;
  const prompt = messages?.at(-1)?.content ?? (body.prompt as string);
  if (body.echo === true && logprob !== undefined) return echo(prompt, logprob);
  const text = generate?.(prompt, body) ?? "";
  const limit = (body.max_tokens ?? body.max_completion_tokens) as number;
  const finish_reason = text.length > limit ? "length" : "stop";
  const usage = { prompt_tokens: prompt.length, completion_tokens: Math.min(text.length, limit) };
  const choice =
    messages === undefined ? { text: text.slice(0, limit) } : { message: { content: text.slice(0, limit) } };
  return { choices: [{ ...choice, finish_reason }], usage };
}

/** One token for each two characters, and a generated one behind. */
function echo(prompt: string, logprob: (prompt: string, at: number) => number): unknown {
  const characters = [...prompt];
  const starts = characters.flatMap((_, i) => (i % 2 === 0 ? [i] : []));
  const tokens = [...starts.map((at) => characters.slice(at, at + 2).join("")), "!"];
  const token_logprobs = [...starts.map((at) => (at === 0 ? null : logprob(prompt, at))), -9];
  const top_logprobs = token_logprobs.map((x, i) =>
    x === null ? null : { [tokens[i]!]: x, other: i % 3 === 0 ? 0 : -50 },
  );
  const logprobs = { tokens, token_logprobs, top_logprobs, text_offset: [...starts, characters.length] };
  return { choices: [{ text: `${prompt}!`, logprobs, finish_reason: "length" }] };
}
