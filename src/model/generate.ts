/**
 * Generation of texts, each on its own: reads its prompt, then every token that was drawn. The scheduler batches what all texts of all
 * calls ask for; what a text becomes does not depend on its company.
 */
import { MoescopeError } from "../errors.js";
import type { RouterTrace } from "../router/trace.js";
import { StreamDecoder } from "../tokenizer/stream-decoder.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import type { Engine } from "./engine.js";
import { type SamplingParameters, toSampleSpec } from "./sampling.js";
import type { Call } from "./scheduler/call.js";
import type { SequenceKind } from "./scheduler/sequence.js";
import type { Append } from "./scheduler/work.js";
import { SEGMENT } from "./segments.js";
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
  kind: SequenceKind;
}

export interface GenerationCallbacks {
  signal?: AbortSignal;
  onToken?: (token: GeneratedToken) => void;
  /** Called as texts finish. */
  onText?: (job: number, sample: number, text: GeneratedText) => void;
}

/** One text under way. */
class Draft {
  readonly tokens: number[] = [];
  readonly logprobs: number[] = [];
  readonly stopText: StopText;
  readonly decoder: StreamDecoder;
  readonly startedAt: number = performance.now();
  promptDoneAt = 0;
  finishReason: FinishReason | undefined;

  constructor(
    readonly job: GenerationJob,
    readonly sample: number,
    tokenizer: Tokenizer,
  ) {
    this.stopText = new StopText(job.stop);
    this.decoder = new StreamDecoder(tokenizer, { stripLeadingSpace: false });
  }

  /** What is read next: the prompt, then each token that was drawn. */
  next({ allowedTokens }: GenerationContext): Append {
    const { promptIds, sampling } = this.job;
    const isPrompt = this.tokens.length === 0;
    const tokensSoFar = () => Int32Array.from([...promptIds, ...this.tokens]);
    const spec = toSampleSpec(sampling, tokensSoFar, promptIds.length, this.sample);
    return {
      tokenIds: isPrompt ? promptIds : Int32Array.of(this.tokens.at(-1)!),
      origin: isPrompt ? 0 : 1,
      segment: isPrompt ? SEGMENT.question : SEGMENT.generated,
      head: { kind: "sample", spec: { ...spec, ...(allowedTokens && { allowedTokens }) } },
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

  finish(trace: RouterTrace | undefined): GeneratedText {
    const now = performance.now();
    return {
      text: this.stopText.text,
      tokenIds: Int32Array.from(this.tokens),
      logprobs: Float32Array.from(this.logprobs),
      finishReason: this.finishReason!,
      trace,
      timing: { promptMs: this.promptDoneAt - this.startedAt, generateMs: now - this.promptDoneAt },
    };
  }
}

/** Generates all jobs; result [job][sample]. Rejects on abort, after the texts that had finished were given to `onText`. */
export function generateTexts(
  jobs: readonly GenerationJob[],
  context: GenerationContext,
  callbacks: GenerationCallbacks = {},
): Promise<GeneratedText[][]> {
  return context.engine.run(callbacks.signal, async (call) => {
    for (const job of jobs) checkJob(job, context.maxContext);
    const textsOf = (job: GenerationJob, index: number) =>
      Promise.all(
        Array.from({ length: job.numSamples }, async (_, sample) => {
          const onToken = (token: Omit<GeneratedToken, "job" | "sample">) =>
            callbacks.onToken?.({ job: index, sample, ...token });
          const text = await generateText(call, new Draft(job, sample, context.tokenizer), context, onToken);
          callbacks.onText?.(index, sample, text);
          return text;
        }),
      );
    return await Promise.all(jobs.map(textsOf));
  });
}

async function generateText(
  call: Call,
  draft: Draft,
  context: GenerationContext,
  onToken: (token: Omit<GeneratedToken, "job" | "sample">) => void,
): Promise<GeneratedText> {
  const { promptIds, maxTokens } = draft.job;
  const maxLength = Math.min(promptIds.length + maxTokens - 1, context.maxContext);
  const sequence = call.open(context.kind, { maxLength });
  try {
    while (draft.finishReason === undefined) {
      const { sampledIds, logprobs } = await sequence.append(draft.next(context));
      const [tokenId, logprob] = [sampledIds[0]!, logprobs[0]!];
      const text = draft.accept(tokenId, logprob, context);
      onToken({ tokenId, logprob, text });
    }
    return draft.finish(sequence.trace);
  } finally {
    sequence.close();
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
