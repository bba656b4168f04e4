/**
 * Generation of many texts at once by continuous batching: each step holds the next token of every text that is under way and the
 * prompts of those that join. What a text becomes does not depend on its company.
 */
import { MoescopeError } from "../errors.js";
import type { CaptureLevel, RouteRule, StepSegment } from "../native/binding.js";
import type { TraceMetadata } from "../router/schema.js";
import { RouterTrace } from "../router/trace.js";
import { StreamDecoder } from "../tokenizer/stream-decoder.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { Engine } from "./engine.js";
import { throwIfAborted } from "./engine.js";
import type { PrefixKind } from "./prefix-cache.js";
import { type SamplingParameters, toSampleSpec } from "./sampling.js";
import { SEGMENT, tracesOf } from "./step-traces.js";
import { StopText } from "./stop-text.js";

export type FinishReason = "eos" | "stop" | "length";

export interface GenerationJob {
  promptIds: Int32Array;
  /** New tokens at most; the model's context may end it earlier. */
  maxTokens: number;
  stop: readonly string[];
  sampling: SamplingParameters;
  /** Texts to draw from this prompt. */
  numSamples: number;
}

export interface GeneratedText {
  text: string;
  /** The tokens that were drawn, the one that ended the text included. */
  tokenIds: Int32Array;
  /** Natural log-probability of each under the model's own distribution, before penalties and temperature. */
  logprobs: Float32Array;
  finishReason: FinishReason;
  /** Rows of the prompt and of every generated token that was read again; absent at level `counts`. */
  trace?: RouterTrace;
  timing: { promptMs: number; generateMs: number };
}

/** A token as it is drawn. `text` is what became certain with it, often empty. */
export interface GeneratedToken {
  job: number;
  sample: number;
  tokenId: number;
  logprob: number;
  text: string;
}

/** What generation needs of a model. */
export interface GenerationContext {
  engine: Engine;
  tokenizer: Tokenizer;
  /** Every token that ends a text. */
  eosTokenIds: ReadonlySet<number>;
  /** As in SampleSpec. */
  allowedTokens?: Uint32Array;
  maxContext: number;
  rules: readonly RouteRule[];
  rulesKey: string;
  level: CaptureLevel;
  traceMetadata: TraceMetadata;
}

export interface GenerationCallbacks {
  signal?: AbortSignal;
  onToken?: (token: GeneratedToken) => void;
  /** Called as texts finish. */
  onText?: (job: number, sample: number, text: GeneratedText) => void;
}

/** Texts that are under way at once. */
const MAX_ACTIVE = 16;

/** One text under way. */
class Draft {
  readonly tokens: number[] = [];
  readonly logprobs: number[] = [];
  readonly traces: RouterTrace[] = [];
  readonly stopText: StopText;
  readonly decoder: StreamDecoder;
  readonly startedAt: number = performance.now();
  promptDoneAt = 0;
  finishReason: FinishReason | undefined;

  constructor(
    readonly jobIndex: number,
    readonly sample: number,
    readonly job: GenerationJob,
    readonly sequence: number,
    /** Prompt tokens that the sequence holds already. */
    public held: number,
    tokenizer: Tokenizer,
  ) {
    this.stopText = new StopText(job.stop);
    this.decoder = new StreamDecoder(tokenizer, { stripLeadingSpace: false });
  }

  /** Position of the first token that the next step appends. */
  get nextPosition(): number {
    return this.tokens.length === 0 ? this.held : this.job.promptIds.length + this.tokens.length - 1;
  }

  /** What the next step appends. */
  segment({ allowedTokens }: GenerationContext): StepSegment {
    const { promptIds, sampling } = this.job;
    const isPrompt = this.tokens.length === 0;
    const tokenIds = isPrompt ? promptIds.subarray(this.held) : Int32Array.of(this.tokens.at(-1)!);
    const tokensSoFar = () => Int32Array.from([...promptIds, ...this.tokens]);
    return {
      sequence: this.sequence,
      tokenIds,
      origin: isPrompt ? 0 : 1,
      segment: isPrompt ? SEGMENT.question : SEGMENT.generated,
      head: {
        kind: "sample",
        spec: {
          ...toSampleSpec(sampling, tokensSoFar, promptIds.length, this.sample),
          ...(allowedTokens && { allowedTokens }),
        },
      },
    };
  }

  /** Takes the token that a step has drawn; gives the text that became certain. */
  accept(tokenId: number, logprob: number, context: GenerationContext): string {
    if (this.tokens.length === 0) this.promptDoneAt = performance.now();
    this.tokens.push(tokenId);
    this.logprobs.push(logprob);
    const isEos = context.eosTokenIds.has(tokenId);
    const isStopped = this.stopText.push(isEos ? "" : this.decoder.push(tokenId));
    const length = this.job.promptIds.length + this.tokens.length;
    if (isEos) this.finishReason = "eos";
    else if (isStopped) this.finishReason = "stop";
    else if (this.tokens.length >= this.job.maxTokens || length > context.maxContext) this.finishReason = "length";
    if (this.finishReason !== undefined) this.stopText.push(this.decoder.flush());
    return this.stopText.take(this.finishReason !== undefined);
  }

  finish(): GeneratedText {
    const now = performance.now();
    return {
      text: this.stopText.text,
      tokenIds: Int32Array.from(this.tokens),
      logprobs: Float32Array.from(this.logprobs),
      finishReason: this.finishReason!,
      trace: this.traces.length === 0 ? undefined : RouterTrace.concat(this.traces),
      timing: { promptMs: this.promptDoneAt - this.startedAt, generateMs: now - this.promptDoneAt },
    };
  }
}

/** Generates all jobs; result [job][sample]. Rejects on abort, after the texts that had finished were given to `onText`. */
export async function generateTexts(
  jobs: readonly GenerationJob[],
  context: GenerationContext,
  callbacks: GenerationCallbacks = {},
): Promise<GeneratedText[][]> {
  for (const job of jobs) checkJob(job, context.maxContext);
  const results: GeneratedText[][] = jobs.map((job) => new Array<GeneratedText>(job.numSamples));
  const waiting = jobs.flatMap((job, index) =>
    Array.from({ length: job.numSamples }, (_, sample) => ({ job, index, sample })),
  );
  const active = new Set<Draft>();
  try {
    while (waiting.length > 0 || active.size > 0) {
      throwIfAborted(callbacks.signal);
      while (active.size < MAX_ACTIVE && waiting.length > 0) {
        // Samples of one prompt wait for the first to have computed it.
        const next = waiting[0]!;
        const first = [...active].find((draft) => draft.jobIndex === next.index);
        if (first !== undefined && first.tokens.length === 0) break;
        waiting.shift();
        active.add(await startDraft(next.index, next.sample, next.job, context));
      }
      await advance([...active], context, callbacks);
      for (const draft of active) {
        if (draft.finishReason === undefined) continue;
        active.delete(draft);
        const text = draft.finish();
        results[draft.jobIndex]![draft.sample] = text;
        callbacks.onText?.(draft.jobIndex, draft.sample, text);
        await context.engine.releaseSequences([draft.sequence]);
      }
    }
    return results;
  } finally {
    await context.engine.releaseSequences([...active].map((draft) => draft.sequence));
  }
}

function checkJob(job: GenerationJob, maxContext: number): void {
  const length = job.promptIds.length;
  if (length === 0)
    throw new MoescopeError("INVALID_ARGUMENT", "Expected a prompt of at least one token, got an empty one.");
  if (length > maxContext) {
    throw new MoescopeError(
      "CONTEXT_TOO_LONG",
      `The prompt has ${length} tokens, the model's context holds ${maxContext}: shorten it, or load with a larger maxContext.`,
    );
  }
}

async function startDraft(
  index: number,
  sample: number,
  job: GenerationJob,
  context: GenerationContext,
): Promise<Draft> {
  const { engine, rules, tokenizer } = context;
  // The last token is always computed: its row predicts the first new one.
  const hit = await engine.prefixes.lookup(job.promptIds, prefixKind(context), job.promptIds.length - 1);
  const sequence = hit?.sequence ?? (await engine.createSequence(rules));
  const draft = new Draft(index, sample, job, sequence, hit?.length ?? 0, tokenizer);
  if (hit?.trace !== undefined) draft.traces.push(hit.trace.attributedTo({}));
  return draft;
}

function prefixKind({ rules, rulesKey, level }: GenerationContext): PrefixKind {
  return { rules, rulesKey, level };
}

/** One step for all drafts. */
async function advance(drafts: Draft[], context: GenerationContext, callbacks: GenerationCallbacks): Promise<void> {
  const { engine, level, traceMetadata } = context;
  const segments = drafts.map((draft) => draft.segment(context));
  const result = await engine.step({ segments, capture: level }, { signal: callbacks.signal });
  const firstPositions = drafts.map((draft) => draft.nextPosition);
  const traces = tracesOf(result, segments, firstPositions, traceMetadata, level);
  for (const [i, trace] of traces.entries()) drafts[i]!.traces.push(trace);
  for (const [i, draft] of drafts.entries()) {
    const isFirst = draft.tokens.length === 0;
    const tokenId = result.sampledIds[i]!;
    const logprob = result.logprobs[i]!;
    const text = draft.accept(tokenId, logprob, context);
    callbacks.onToken?.({ job: draft.jobIndex, sample: draft.sample, tokenId, logprob, text });
    if (!isFirst) continue;
    const { promptIds } = draft.job;
    const trace = draft.traces.length === 0 ? undefined : RouterTrace.concat(draft.traces);
    await engine.prefixes.store(draft.sequence, promptIds, prefixKind(context), trace);
  }
}
