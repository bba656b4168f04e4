/** A model as the eval harness sees one: batches in, results out. The harness declares the same shapes in eval/language-model.ts. */
import { basename } from "node:path";
import { packageVersion } from "../native/addon.js";
import type { Capture } from "../router/capture.js";
import type { ExpertLoad } from "../router/expert-load.js";
import { canonicalForm } from "../router/intervention-keys.js";
import type { RouterTrace } from "../router/trace.js";
import { type HashedFile, hashFiles } from "./file-hashes.js";
import { generateTexts } from "./generate.js";
import { checkRoutes, generationContext, prepare } from "./generation.js";
import type { LikelihoodResult } from "./likelihood.js";
import { commonDtype, type Model } from "./model.js";
import type { SamplingParameters } from "./sampling.js";

export interface BatchOptions {
  signal?: AbortSignal;
  trace?: Capture;
  onProgress?: (done: number, total: number) => void;
}

/** The harness's messages. A type and not an interface, so that it fits the chat template's open form. */
export type PlainMessage = { role: string; content: string };

interface BatchLimits {
  stop: readonly string[];
  maxTokens: number;
  sampling: Readonly<SamplingParameters>;
}

export interface BatchGeneration {
  text: string;
  tokenIds: Int32Array;
  finishReason: "eos" | "stop" | "length";
  promptTokens: number;
  trace?: RouterTrace;
}

export interface DescribedModel {
  name: string;
  kind: "native";
  files: readonly HashedFile[];
  licence?: string;
  tokenizerSha256?: string;
  chatTemplateSha256?: string;
  chatTemplateSource?: string;
  precision: string;
  weightType: string;
  device: string;
  maxContext: number;
  interventions?: readonly Record<string, unknown>[];
  engine: string;
}

export interface ModelAsLanguageModel {
  loglikelihood(
    requests: readonly { context: string | readonly PlainMessage[]; continuation: string; parseSpecial?: boolean }[],
    options?: BatchOptions,
  ): Promise<LikelihoodResult[]>;
  generate(
    requests: readonly (BatchLimits & { prompt: string; parseSpecial?: boolean })[],
    options?: BatchOptions,
  ): Promise<BatchGeneration[]>;
  chat(
    requests: readonly (BatchLimits & { messages: readonly PlainMessage[] })[],
    options?: BatchOptions,
  ): Promise<BatchGeneration[]>;
  describe(): Promise<DescribedModel>;
  /** Absent in a model without routed experts. */
  expertLoad?(): Promise<ExpertLoad>;
}

export function languageModelOf(model: Model): ModelAsLanguageModel {
  return {
    loglikelihood: (requests, options = {}) => model.loglikelihood(requests, { ...options, truncate: true }),
    generate: async (requests, options = {}) =>
      generateBatch(
        model,
        await Promise.all(
          requests.map(async ({ prompt, parseSpecial, ...limits }) => {
            return jobOf(model, { prompt: await model.tokenizer.encode(prompt, { parseSpecial }) }, limits);
          }),
        ),
        options,
      ),
    chat: async (requests, options = {}) =>
      generateBatch(
        model,
        await Promise.all(requests.map(({ messages, ...limits }) => jobOf(model, { messages }, limits))),
        options,
      ),
    describe: () => describeModel(model),
    expertLoad: model.config.numExperts > 0 ? () => model.expertLoad() : undefined,
  };
}

/**
 * The prompt is cut from the left to leave room for the answer, as lm-evaluation-harness does. Where the answer could take the whole
 * context, which the harness refuses, half of it stays the prompt's: the answer ends at the context's end instead.
 */
async function jobOf(model: Model, prompt: Parameters<typeof prepare>[1], { stop, maxTokens, sampling }: BatchLimits) {
  const { job } = await prepare(model, prompt, { ...sampling, stop, maxTokens });
  const { maxContext } = model.config;
  const room = maxTokens < maxContext ? maxContext - maxTokens : Math.ceil(maxContext / 2);
  return { ...job, promptIds: job.promptIds.slice(-room) };
}

async function generateBatch(
  model: Model,
  jobs: Awaited<ReturnType<typeof jobOf>>[],
  { signal, trace = "counts", onProgress }: BatchOptions,
): Promise<BatchGeneration[]> {
  let done = 0;
  const onText = () => onProgress?.(++done, jobs.length);
  const context = generationContext(model, trace);
  const texts = await generateTexts(jobs, context, { signal, onText });
  return texts.map(([text], index) => {
    checkRoutes(text!, jobs[index]!, context);
    const { tokenIds, finishReason, trace } = text!;
    return { text: text!.text, tokenIds, finishReason, trace, promptTokens: jobs[index]!.promptIds.length };
  });
}

async function describeModel(model: Model): Promise<DescribedModel> {
  const { checkpoint, precision, device } = model.parts;
  const { chatTemplate, interventions } = model;
  const source = checkpoint.tokenizer;
  const tokenizerFiles = source.kind === "files" && source.tokenizerJson !== null ? [source.tokenizerJson] : [];
  const [tokenizerHash] = await hashFiles(tokenizerFiles);
  return {
    // Not the path: a run can be resumed after its model's folder was moved.
    name: basename(checkpoint.path),
    kind: "native",
    files: await hashFiles(checkpoint.plan.files),
    licence: checkpoint.licence?.name,
    // A GGUF file holds its tokenizer, so the file's own hash names it.
    tokenizerSha256: tokenizerHash?.sha256,
    chatTemplateSha256: chatTemplate?.sha256,
    chatTemplateSource: chatTemplate?.source,
    precision,
    weightType: commonDtype(checkpoint),
    device,
    maxContext: model.config.maxContext,
    // Routes by their content: a run's provenance does not hold them.
    interventions: interventions.length === 0 ? undefined : interventions.map(canonicalForm),
    engine: `moescope ${packageVersion()}`,
  };
}
