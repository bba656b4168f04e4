import { createHash } from "node:crypto";
import { expect } from "vitest";
import type { ChatMessage, Estimate, LoadedTask, SampleRequest, Script } from "../../src/index.js";
import { readGolden } from "../eval/shared.js";

/** The files of golden/lm_eval: a `run` line, then one line per item. */

export interface GoldenRun {
  type: "run";
  n: Record<string, number>;
  aggregates: Record<string, Record<string, number>>;
}

export interface GoldenItem {
  type: "item";
  task: string;
  doc_id: number;
  context: string;
  target: number | string;
  requests: { continuation: string; loglikelihood: number; is_greedy: boolean }[];
  prediction: number;
  metrics: Record<string, number>;
  until: string[];
  max_gen_toks: number;
  text: string;
  filters: { name: string; filtered: string; metrics: { exact_match: number } }[];
  fewshot_rows: number[];
  program: string;
  passed: boolean;
}

export function readRun(name: string): { run: GoldenRun; items: GoldenItem[] } {
  const [run, ...items] = readGolden<GoldenRun | GoldenItem>(`lm_eval/${name}.jsonl`);
  return { run: run as GoldenRun, items: items as GoldenItem[] };
}

export interface PromptDigest {
  task: string;
  mode: "plain" | "chat" | "chat_multiturn";
  n_docs: number;
  sha256_of_all: string;
  sha256_first: string;
  continuations?: string[];
}

export function promptDigests(task: (name: string) => boolean): PromptDigest[] {
  return readGolden<PromptDigest>("lm_eval/prompt_digests.jsonl").filter((row) => task(row.task));
}

/** ChatML with the default system message of the goldens' model, and the header of the answer. */
export function renderChatMl(messages: readonly ChatMessage[]): string {
  const system: ChatMessage = {
    role: "system",
    content: "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
  };
  const all = messages[0]?.role === "system" ? messages : [system, ...messages];
  const turns = all.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`);
  return `${turns.join("")}<|im_start|>assistant\n`;
}

/** The text that the model sees of a request. */
export function promptText(request: SampleRequest): string {
  if (request.kind === "generate") return request.prompt;
  const prompt = request.kind === "chat" ? request.messages : request.context;
  return typeof prompt === "string" ? prompt : renderChatMl(prompt);
}

/** SHA-256 over all first prompts of a task, joined by U+0000. */
export function digestOfPrompts(task: LoadedTask): string {
  const hash = createHash("sha256");
  task.samples.forEach((sample, i) => {
    hash.update((i === 0 ? "" : "\0") + promptText(task.requests(sample)[0]!), "utf8");
  });
  return hash.digest("hex");
}

/** A script that answers with what the harness recorded; a prompt that it did not see is an error. */
export function replay(items: readonly GoldenItem[]): Script {
  const recorded = new Map<string, number | string>();
  for (const item of items) {
    for (const request of item.requests ?? []) {
      recorded.set(JSON.stringify([item.context, request.continuation]), request.loglikelihood);
    }
    if (item.text !== undefined) recorded.set(item.context, item.text);
  }
  const find = <T>(key: string): T => {
    if (!recorded.has(key)) throw new Error(`The harness did not ask ${key.slice(0, 200)}`);
    return recorded.get(key) as T;
  };
  return {
    loglikelihood: (request) =>
      find<number>(JSON.stringify([promptText({ kind: "loglikelihood", ...request }), request.continuation])),
    generate: (request) => find<string>(request.prompt),
    chat: (request) => find<string>(renderChatMl(request.messages)),
  };
}

/** Same sums in another order: a few units in the last place of numbers below 1. */
export function expectAggregate(estimate: Estimate, value: number, stderr: number): void {
  expect(Math.abs(estimate.value - value)).toBeLessThanOrEqual(1e-14);
  expect(Math.abs(estimate.stderr - stderr)).toBeLessThanOrEqual(1e-14);
}
