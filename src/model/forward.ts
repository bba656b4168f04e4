/** One pass over tokens from position 0: logits and routes, whole or piece by piece. */
import { invalidArgument } from "../errors.js";
import type { HeadSpec } from "../native/binding.js";
import { bytesPerToken, type Capture, isRecorded } from "../router/capture.js";
import { checkTrace } from "../router/invariants.js";
import type { RouterTrace } from "../router/trace.js";
import type { Model } from "./model.js";
import type { Sequence } from "./scheduler/sequence.js";
import { SEGMENT } from "./segments.js";

export interface ForwardOptions {
  /** Rows whose logits are wanted. Default "last". */
  logits?: "all" | "last" | "none";
  /** How much of the routing to record, and of which layers. Default "counts": none of it row by row. */
  trace?: Capture;
  /**
   * Takes the routes as they are computed, in order, in pieces of at most TRACE_PIECE_BYTES or one token; the result then has none. The
   * pass waits for what it returns, so memory holds one piece however long the text is. What it throws ends the pass.
   */
  onTrace?: (piece: RouterTrace) => void | Promise<void>;
  signal?: AbortSignal;
  onProgress?: (tokensDone: number, tokensTotal: number) => void;
}

export interface ForwardResult {
  /** [tokens, vocabSize], [1, vocabSize] or empty, as asked. */
  logits: Float32Array;
  /** Absent at level "counts", and where `onTrace` has taken it. */
  trace?: RouterTrace;
}

/** Rows that native code computes at once; more is faster for long prompts and takes more workspace. */
export const CHUNK_ROWS: number = 256;

/** Routes that wait for one `onTrace`. */
export const TRACE_PIECE_BYTES: number = 2 ** 24;

const TEXT = { origin: 0, segment: SEGMENT.question } as const;

export async function forward(model: Model, ids: ArrayLike<number>, options: ForwardOptions): Promise<ForwardResult> {
  const { trace: capture = "counts", signal } = options;
  const tokenIds = Int32Array.from(ids);
  if (tokenIds.length === 0) throw invalidArgument("ids", "at least one token", tokenIds);
  model.checkReplay(tokenIds);
  // Every row runs: whoever looks into a pass wants to see all of it.
  const kind = { ...model.kindAt(capture), cacheKey: undefined };
  return model.parts.engine.run(signal, async (call) => {
    const sequence = call.open(kind, { maxLength: tokenIds.length });
    const logits = await runPieces(model, sequence, tokenIds, options);
    if (options.onTrace !== undefined) return { logits };
    const { trace } = sequence;
    if (trace !== undefined) checkPiece(model, sequence, trace, tokenIds.length);
    return { logits, trace };
  });
}

async function runPieces(
  model: Model,
  sequence: Sequence,
  tokenIds: Int32Array,
  { logits = "last", onTrace, onProgress }: ForwardOptions,
): Promise<Float32Array> {
  const { vocabSize } = model.config;
  const total = tokenIds.length;
  const rows = onTrace === undefined ? total : pieceRows(model, sequence);
  const all = new Float32Array(logits === "all" && rows < total ? total * vocabSize : 0);
  for (let from = 0; ; from += rows) {
    const piece = tokenIds.subarray(from, from + rows);
    const isLast = from + rows >= total;
    const isWanted = logits === "all" || (logits === "last" && isLast);
    const head: HeadSpec = isWanted ? { kind: "logits", rows: logits } : { kind: "none" };
    const onRows = onProgress && ((done: number) => onProgress(from + done, total));
    const result = await sequence.append({ tokenIds: piece, ...TEXT, head, onRows });
    if (onTrace !== undefined) await handOver(model, sequence, piece.length, onTrace);
    if (logits === "all" && rows < total) all.set(result.logits, from * vocabSize);
    if (isLast) return all.length > 0 ? all : result.logits;
  }
}

/** Tokens whose routes are one piece. */
function pieceRows({ parts, config }: Model, { kind }: Sequence): number {
  const perToken = bytesPerToken(kind, parts.shape, { topK: kind.topK, hiddenSize: config.hiddenSize });
  return Math.max(1, Math.min(CHUNK_ROWS, Math.floor(TRACE_PIECE_BYTES / Math.max(1, perToken))));
}

async function handOver(
  model: Model,
  sequence: Sequence,
  numTokens: number,
  onTrace: NonNullable<ForwardOptions["onTrace"]>,
): Promise<void> {
  const { trace } = sequence;
  sequence.routes.forget();
  if (trace === undefined) return;
  checkPiece(model, sequence, trace, numTokens);
  if (trace.numTokens > 0) await onTrace(trace);
}

function checkPiece(model: Model, { kind }: Sequence, trace: RouterTrace, numTokens: number): void {
  checkTrace(trace, { numTokens: isRecorded(kind, TEXT) ? numTokens : 0, rules: model.rules });
}
