import { createHash } from "node:crypto";
import { canonicalJson, sha256 } from "./canonical-json.js";
import type { Sample, SampleRequest, SampleResponse, Scores, Task } from "./task.js";

/**
 * One line of a run's samples.jsonl: what was asked, what came back, how it was scored. Names are those of the trace's key
 * (`task`, `sample_id`, `epoch`), so that scores and routes join as they are.
 */
export interface SampleRow {
  task: string;
  track: string;
  sample_id: string;
  /** Which repetition of the sample; 0 where a task runs each sample once. */
  epoch: number;
  group: string;
  input: string;
  target: string;
  /** SHA-256 of the sample's requests: two runs that asked the same in the same words have the same. */
  prompt_sha256: string;
  responses: RowResponse[];
  scores: Scores;
  /** Wall time of the sample's batch, divided by its size. Not part of the digest. */
  seconds: number;
}

export type RowResponse =
  | { kind: "loglikelihood"; continuation: string; logprob: number; is_greedy: boolean; tokens: number }
  | { kind: "generate" | "chat"; text: string; finish_reason: string; prompt_tokens: number; tokens: number };

export function sampleRow(
  task: Task,
  sample: Sample,
  requests: readonly SampleRequest[],
  responses: readonly SampleResponse[],
  scores: Scores,
  seconds: number,
): SampleRow {
  return {
    task: task.name,
    track: task.track,
    sample_id: sample.id,
    epoch: 0,
    group: sample.group,
    input: sample.input,
    target: sample.target,
    prompt_sha256: digestOfRequests(requests),
    responses: responses.map((response, i) => rowResponse(requests[i]!, response)),
    scores,
    seconds,
  };
}

/** The key that a row is known by within its run. */
export function rowKey(row: Pick<SampleRow, "task" | "sample_id" | "epoch">): string {
  return canonicalJson([row.task, row.sample_id, row.epoch]);
}

/** SHA-256 of a row without its times. */
export function rowDigest(row: SampleRow): string {
  const { seconds: _, ...timeless } = row;
  return sha256(canonicalJson(timeless));
}

/** The digest of a run: over its rows' digests, sorted by key; how the rows came about leaves no mark on it. */
export function digestOfRows(digests: ReadonlyMap<string, string>): string {
  const sorted = [...digests].sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256(sorted.map(([key, digest]) => `${key} ${digest}\n`).join(""));
}

/** A prompt that a sample's requests share is hashed once: it is long, and the rest is short. */
function digestOfRequests(requests: readonly SampleRequest[]): string {
  const hash = createHash("sha256");
  let previous: unknown;
  for (const request of requests) {
    const { prompt, rest } = split(request);
    hash.update(prompt === previous ? "same" : canonicalJson(prompt)).update(canonicalJson(rest));
    previous = prompt;
  }
  return hash.digest("hex");
}

function split(request: SampleRequest): { prompt: unknown; rest: object } {
  if (request.kind === "loglikelihood") {
    const { context: prompt, ...rest } = request;
    return { prompt, rest };
  }
  if (request.kind === "chat") {
    const { messages: prompt, ...rest } = request;
    return { prompt, rest };
  }
  const { prompt, ...rest } = request;
  return { prompt, rest };
}

function rowResponse(request: SampleRequest, response: SampleResponse): RowResponse {
  if (response.kind === "loglikelihood") {
    return {
      kind: response.kind,
      continuation: request.kind === "loglikelihood" ? request.continuation : "",
      logprob: response.logprob,
      is_greedy: response.isGreedy,
      tokens: response.tokenLogprobs.length,
    };
  }
  return {
    kind: response.kind,
    text: response.text,
    finish_reason: response.finishReason,
    prompt_tokens: response.promptTokens,
    tokens: response.numTokens ?? response.tokenIds.length,
  };
}
