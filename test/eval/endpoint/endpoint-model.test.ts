import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  type EndpointOptions,
  evaluate,
  GREEDY,
  type LanguageModel,
  MoescopeError,
  openEndpoint,
} from "../../../src/index.js";
import { toyTask } from "../toy-task.js";
import { type Behaviour, type FakeServer, startServer } from "./server.js";

let server: FakeServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function model(behaviour: Behaviour, options: Partial<EndpointOptions> = {}): Promise<LanguageModel> {
  server = await startServer(behaviour);
  return openEndpoint({ baseUrl: server.url, backoffSeconds: 0.005, ...options });
}

const bodies = (path: string): Record<string, unknown>[] =>
  server!.asked.filter((asked) => asked.path === path).map(({ body }) => body);

async function failureOf(promise: Promise<unknown>): Promise<MoescopeError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MoescopeError);
  return error as MoescopeError;
}

const limits = { stop: [], maxTokens: 8, sampling: GREEDY };
const ask = { prompt: "1 + 1 =", ...limits };

describe("what is asked", () => {
  it("states every parameter, and leaves none to the server's defaults", async () => {
    const table = await model({ generate: () => " 2" });
    const [text] = await table.generate([{ ...ask, stop: ["\n", "Q:"] }]);
    expect(text).toEqual({ text: " 2", tokenIds: [], numTokens: 2, finishReason: "eos", promptTokens: 7 });
    expect(bodies("/v1/completions")).toEqual([
      {
        ...{ model: "table", prompt: "1 + 1 =", max_tokens: 8, stop: ["\n", "Q:"] },
        ...{ temperature: 0, top_p: 1, top_k: 0, min_p: 0, seed: 0 },
        ...{ repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0 },
      },
    ]);
  });

  it("leaves a conversation to the server's template, and draws as it is told", async () => {
    const table = await model({ generate: () => "two" });
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "1 + 1?" },
    ] as const;
    const sampling = { ...GREEDY, temperature: 0.7, topP: 0.8, topK: 20, seed: 5 };
    const [result] = await table.chat([{ messages, ...limits, sampling }]);
    expect(result).toMatchObject({ text: "two", finishReason: "eos" });
    expect(bodies("/v1/chat/completions")[0]).toMatchObject({
      messages,
      temperature: 0.7,
      top_p: 0.8,
      top_k: 20,
      seed: 5,
    });
  });

  it("describes the model by the server's own words, without the key", async () => {
    const table = await model({}, { apiKey: "sk-secret" });
    expect(server!.asked[0]!.authorization).toBe("Bearer sk-secret");
    const description = await table.describe();
    expect(description).toEqual({
      ...{ name: "table", kind: "endpoint", files: [], maxContext: 4096 },
      engine: `ours at ${server!.url}`,
    });
    expect(JSON.stringify([description, table])).not.toContain("secret");
  });

  it.each([
    ["lists several", undefined, "a, b"],
    ["does not have it", "c", "a, b"],
  ])("wants a model's name where the server %s", async (_what, name, known) => {
    server = await startServer({ models: [{ id: "a" }, { id: "b" }] });
    const error = await failureOf(openEndpoint({ baseUrl: server.url, model: name }));
    expect([error.code, error.message]).toEqual(["INVALID_ARGUMENT", expect.stringContaining(known)]);
    expect((await (await openEndpoint({ baseUrl: server.url, model: "b" })).describe()).name).toBe("b");
  });

  it.each(["localhost:8000", "ftp://x/v1", "http://me:pw@x/v1", "http://x/v1?key=1"])(
    "refuses the address %s",
    async (baseUrl) => {
      const { code, message } = await failureOf(openEndpoint({ baseUrl }));
      expect([code, message.includes("pw")]).toEqual(["INVALID_ARGUMENT", false]);
    },
  );
});

describe("what comes back", () => {
  it("is cut at the first occurrence of each stop string, in their order", async () => {
    const table = await model({ generate: () => "a B c A d" });
    const [cut, whole, short] = await table.generate([
      { ...ask, maxTokens: 99, stop: ["A", "B"] },
      { ...ask, maxTokens: 99 },
      { ...ask, maxTokens: 3 },
    ]);
    expect([cut!.text, cut!.finishReason]).toEqual(["a ", "stop"]);
    expect([whole!.text, whole!.finishReason]).toEqual(["a B c A d", "eos"]);
    expect([short!.text, short!.finishReason]).toEqual(["a B", "length"]);
  });

  it("comes in the order of the requests, so many at a time", async () => {
    const table = await model({ generate: (prompt) => `<${prompt}>` }, { concurrency: 3 });
    const done: number[] = [];
    const prompts = Array.from({ length: 20 }, (_, i) => String(i));
    const results = await table.generate(
      prompts.map((prompt) => ({ ...ask, prompt })),
      { onProgress: (n) => done.push(n) },
    );
    expect(results.map(({ text }) => text)).toEqual(prompts.map((prompt) => `<${prompt}>`));
    expect(done).toEqual(prompts.map((_, i) => i + 1));
    expect(server!.mostActive).toBe(3);
  });

  it("is a log-likelihood where the server echoes, parted as the harness parts it", async () => {
    // Tokens of two characters: "Q:" " 1" "+1" "=" ... ; the blank before the answer is the continuation's.
    const table = await model({ logprob: (_prompt, at) => -at });
    const [first, spaced, wide] = await table.loglikelihood([
      { context: "Q: 1+1", continuation: " = 2" },
      { context: "Q: 1+1 =  ", continuation: "23" },
      { context: "题目：😀", continuation: " 三角" },
    ]);
    expect(first).toMatchObject({ tokenLogprobs: [-6, -8], logprob: -14, isGreedy: false });
    expect(spaced).toMatchObject({ tokenLogprobs: [-8, -10], logprob: -18 });
    expect(wide).toMatchObject({ tokenLogprobs: [-4, -6], logprob: -10 });
    expect(bodies("/v1/completions")[0]).toMatchObject({ echo: true, max_tokens: 1, logprobs: 1, temperature: 0 });
    const [greedy] = await table.loglikelihood([{ context: "Q:", continuation: " 1" }]);
    expect(greedy!.isGreedy).toBe(true);
  });
});

describe("a server that cannot score", () => {
  const pair = [{ context: "1 + 1 =", continuation: " 2" }];
  it.each<[string, Behaviour]>([
    ["does not echo", { generate: () => "x" }],
    [
      "refuses to echo",
      { before: (asked) => (asked.body.echo ? { status: 400, body: { error: { message: "no echo" } } } : undefined) },
    ],
    ["echoes without numbers", { logprob: () => null as unknown as number }],
  ])("is named with the way out: it %s", async (_what, behaviour) => {
    const { code, message } = await failureOf((await model(behaviour)).loglikelihood(pair));
    expect([code, message]).toEqual([
      "UNSUPPORTED",
      `Expected log-probabilities of the prompt from ${server!.url} (completions with echo and logprobs), got none: this endpoint cannot score choices by likelihood; track qwen asks for answers in words.`,
    ]);
  });

  it("nor a conversation, whose template it keeps to itself, nor a trace", async () => {
    const table = await model({ logprob: () => -1 });
    const messages = [{ role: "user", content: "x" }] as const;
    expect((await failureOf(table.loglikelihood([{ context: messages, continuation: "y" }]))).code).toBe("UNSUPPORTED");
    expect((await failureOf(table.generate([ask], { trace: "topk" }))).message).toContain("no trace from an endpoint");
  });
});

describe("a server with moods", () => {
  it("is asked again while it is busy, broken or gone, and waits as it wishes", async () => {
    const faults = [
      { status: 429, headers: { "retry-after": "0.05" } },
      { status: 503, body: "overloaded" },
      { fault: "hang-up" as const },
      { status: 500 },
    ];
    const table = await model({
      before: ({ path }) => (path === "/v1/models" ? undefined : faults.shift()),
      generate: () => "2",
    });
    const started = performance.now();
    expect((await table.generate([ask]))[0]!.text).toBe("2");
    expect(performance.now() - started).toBeGreaterThan(50);
    expect(bodies("/v1/completions")).toHaveLength(5);
  });

  it("is given up after so many attempts, in one sentence without the key", async () => {
    const before: Behaviour["before"] = ({ path }) =>
      path === "/v1/models" ? undefined : { status: 503, body: { error: { message: "Loading model." } } };
    const table = await model({ before }, { retries: 2, apiKey: "sk-secret" });
    const { code, message } = await failureOf(table.generate([ask]));
    expect([code, message]).toEqual([
      "NETWORK",
      `Expected an answer from ${server!.url}/completions, got status 503 in 3 attempts: Loading model.`,
    ]);
  });

  it("is not asked twice what it refuses", async () => {
    const table = await model({
      before: ({ path }) =>
        path === "/v1/models" ? undefined : { status: 401, body: { error: { message: "bad key" } } },
    });
    expect((await failureOf(table.generate([ask]))).message).toMatch(/got status 401: bad key\.$/);
    expect(bodies("/v1/completions")).toHaveLength(1);
  });

  it("has only so much time", async () => {
    const table = await model(
      { before: ({ path }) => (path === "/v1/models" ? undefined : { fault: "silence" }) },
      { timeoutSeconds: 0.1, retries: 1 },
    );
    expect((await failureOf(table.generate([ask]))).message).toMatch(
      /got none in 2 attempts: no answer within 0\.1 s\.$/,
    );
  });

  it("is left at once on abort", async () => {
    const table = await model({ before: ({ path }) => (path === "/v1/models" ? undefined : { fault: "silence" }) });
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 30);
    expect((await failureOf(table.generate([ask, ask], { signal: abort.signal }))).code).toBe("ABORTED");
  });

  it("may speak less than the whole API: what changes nothing is left out, the rest is cut here", async () => {
    const strict: Behaviour["before"] = ({ path, body }) => {
      const refuse = (message: string) => ({ status: 400, body: { error: { message } } });
      if (path === "/v1/models") return undefined;
      if ("max_tokens" in body) return refuse("Use max_completion_tokens instead.");
      if ("top_k" in body) return refuse("Unrecognized request argument supplied: top_k");
      return (body.stop as string[]).length > 4 ? refuse("stop: at most 4 sequences") : undefined;
    };
    const table = await model({ before: strict, generate: () => "abcdefg" });
    const stop = ["1", "2", "3", "4", "c"];
    const request = { ...ask, stop };
    expect((await table.generate([request]))[0]).toMatchObject({ text: "ab", finishReason: "stop" });
    await table.generate([request]);
    expect(bodies("/v1/completions")).toHaveLength(5);
    const sampling = { ...GREEDY, temperature: 1, topK: 3 };
    const loose = await openEndpoint({ baseUrl: server!.url });
    expect((await failureOf(loose.generate([{ ...request, sampling }]))).message).toContain("Unrecognized");
  });

  it("that is not there is one sentence", async () => {
    const { code, message } = await failureOf(openEndpoint({ baseUrl: "http://127.0.0.1:9/v1", retries: 0 }));
    expect([code, message]).toEqual([
      "NETWORK",
      expect.stringMatching(
        /^Expected an answer from http:\/\/127\.0\.0\.1:9\/v1\/models, got none: .*ECONNREFUSED.*\.$/,
      ),
    ]);
  });
});

it("a run of an endpoint has its provenance, and its key nowhere", async () => {
  const table = await model({ generate: (prompt) => ` ${Number.parseInt(prompt, 10) + 1}` }, { apiKey: "sk-secret" });
  const out = join(mkdtempSync(join(tmpdir(), "moescope-endpoint-")), "run");
  const { tasks } = await evaluate(table, [toyTask({ kind: "generate" })], { out, batchSize: 1, concurrency: 8 });
  expect(tasks[0]!.metrics[0]!.estimate).toMatchObject({ value: 1, n: 40 });
  expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8")).identity.model).toMatchObject({
    name: "table",
    kind: "endpoint",
  });
  for (const file of readdirSync(out)) expect(readFileSync(join(out, file), "utf8")).not.toContain("sk-secret");
});
