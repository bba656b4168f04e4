/** One native step: the pieces of the sequences in it, and what each of them gets of the result. */
import type { CaptureLevel, HeadSpec, StepRequest, StepResult, StepTrace } from "../../native/binding.js";
import { RouterTrace } from "../../router/trace.js";
import { fromNativeError } from "../native-error.js";
import type { Sequence } from "./sequence.js";
import { type Append, headOfRows, OutputCursor } from "./work.js";

/** The next rows of one sequence's append. */
export interface Piece {
  sequence: Sequence;
  rows: number;
}

const LEVELS: readonly CaptureLevel[] = ["counts", "topk", "logits", "hidden"];

/** Captures at the highest level that any of them wants: watching changes no bit. */
export function stepRequest(pieces: readonly Piece[]): StepRequest {
  const levels = pieces.map(({ sequence }) => LEVELS.indexOf(sequence.kind.level));
  return { segments: pieces.map(segmentOf), capture: LEVELS[Math.max(...levels)]! };
}

function segmentOf(piece: Piece): StepRequest["segments"][number] {
  const { append, start } = piece.sequence.pending!;
  const from = piece.sequence.computed - start;
  return {
    sequence: piece.sequence.hold!.sequence,
    tokenIds: append.tokenIds.subarray(from, from + piece.rows),
    origin: append.origin,
    segment: append.segment,
    head: headOf(piece),
    isRecorded: piece.sequence.kind.level !== "counts",
  };
}

function headOf({ sequence, rows }: Piece): HeadSpec {
  const { append, start } = sequence.pending!;
  const from = sequence.computed - start;
  return headOfRows(append.head, from, from + rows, append.tokenIds.length);
}

/**
 * Hands a result out. A sequence that was closed meanwhile gets nothing, one whose callback failed gets what that threw; an append that is
 * done is answered.
 */
export function deliver(pieces: readonly Piece[], request: StepRequest, result: StepResult, vocabSize: number): void {
  const cursor = new OutputCursor(result, vocabSize);
  const failures = new Map(result.failures?.map(({ segment, error }) => [segment, { error }]));
  let row = 0;
  for (const [index, { sequence, rows }] of pieces.entries()) {
    const { head, isRecorded } = request.segments[index]!;
    const { pending } = sequence;
    const failure = failures.get(index);
    if (failure !== undefined) sequence.fail(fromNativeError(failure.error));
    if (pending === undefined || failure !== undefined) {
      cursor.skip(head, rows);
    } else {
      cursor.take(head, rows, pending.outputs);
      advance(sequence, result.trace, row, rows);
    }
    if (isRecorded) row += rows;
  }
}

function advance(sequence: Sequence, trace: StepTrace | undefined, firstRow: number, rows: number): void {
  const { append, start } = sequence.pending!;
  try {
    if (trace !== undefined) addRoutes(sequence, trace, firstRow, rows);
    sequence.computed += rows;
    append.onRows?.(sequence.computed - start);
  } catch (error) {
    sequence.fail(error);
    return;
  }
  if (sequence.computed === start + append.tokenIds.length) sequence.succeed();
}

/** Gives a sequence the routes of its rows: those that it asked for, as wide as its own rules make them, in arrays of their own. */
function addRoutes(sequence: Sequence, trace: StepTrace, firstRow: number, rows: number): void {
  const { level, rules, traceMetadata } = sequence.kind;
  if (level === "counts") return;
  const { append, start } = sequence.pending!;
  const from = sequence.computed - start;
  const widths = rules.map((rule) => Math.max(rule.k ?? 0, rule.routeK ?? 0));
  const topK = Math.max(traceMetadata.numExpertsPerToken, ...widths);
  const run = {
    tokenIds: append.tokenIds.slice(from, from + rows),
    firstPosition: sequence.computed,
    origin: append.origin,
    segment: append.segment,
  };
  const own = rowsOfTrace(trace, { firstRow, rows, topK, level });
  sequence.addTrace(RouterTrace.fromStep(own, [run], { metadata: traceMetadata, level }));
}

interface RowRange {
  firstRow: number;
  rows: number;
  topK: number;
  level: CaptureLevel;
}

function rowsOfTrace(trace: StepTrace, { firstRow, rows, topK, level }: RowRange): StepTrace {
  const { numMoeLayers, numExperts, hidden } = trace;
  const part = <T extends Float32Array | Uint8Array>(values: T, width: number): T =>
    values.slice(firstRow * width, (firstRow + rows) * width) as T;
  const slots = <T extends Float32Array | Uint16Array>(values: T): T => {
    const width = numMoeLayers * trace.topK;
    return narrow(values.slice(firstRow * width, (firstRow + rows) * width) as T, trace.topK, topK);
  };
  return {
    ...{ rows, numMoeLayers, topK, numExperts },
    topkExperts: slots(trace.topkExperts),
    topkWeights: slots(trace.topkWeights),
    sharedGate: part(trace.sharedGate, trace.sharedGate.length === 0 ? 0 : numMoeLayers),
    margin: part(trace.margin, numMoeLayers),
    intervened: part(trace.intervened, numMoeLayers),
    routerLogits: part(trace.routerLogits, level === "topk" ? 0 : numMoeLayers * numExperts),
    ...(level === "hidden" &&
      hidden !== undefined && {
        hidden: {
          routerInput: part(hidden.routerInput, hidden.routerInput.length / trace.rows),
          expertNorms: slots(hidden.expertNorms),
          sharedNorm: part(hidden.sharedNorm, hidden.sharedNorm.length / trace.rows),
          residual: part(hidden.residual, hidden.residual.length / trace.rows),
        },
      }),
  };
}

/** The first `to` of every `from` slots: a neighbour's rules may have made the step's rows wider. */
function narrow<T extends Float32Array | Uint16Array>(values: T, from: number, to: number): T {
  if (from === to) return values;
  const narrowed = new (values.constructor as new (length: number) => T)((values.length / from) * to);
  for (let row = 0; row < values.length / from; row++) {
    narrowed.set(values.subarray(row * from, row * from + to), row * to);
  }
  return narrowed;
}

/** Routes of a cached prefix as the sequence that begins with it owns them: not computed for it, and its own text. */
export function inheritedRoutes(routes: RouterTrace, { origin, segment }: Append): RouterTrace {
  const owned = routes.attributedTo({});
  const columns = {
    ...owned.columns,
    origins: new Uint8Array(owned.numTokens).fill(origin),
    segments: new Int32Array(owned.numTokens).fill(segment),
  };
  return new RouterTrace({ ...owned, columns });
}
