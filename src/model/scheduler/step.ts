/** One native step: the pieces of the sequences in it, and what each of them gets of the result. */
import type { HeadSpec, StepRequest, StepResult } from "../../native/binding.js";
import { isRecorded } from "../../router/capture.js";
import { RouterTrace } from "../../router/trace.js";
import { fromNativeError } from "../native-error.js";
import type { Sequence } from "./sequence.js";
import type { RecordingBlock } from "./trace-blocks.js";
import { type Append, headOfRows, OutputCursor } from "./work.js";

/** The next rows of one sequence's append. */
export interface Piece {
  sequence: Sequence;
  rows: number;
}

/** `block`: where the routes go, if any are recorded. */
export function stepRequest(pieces: readonly Piece[], block: RecordingBlock | undefined): StepRequest {
  const segments = pieces.map(segmentOf);
  return block === undefined ? { segments } : { segments, traceBlock: block.native.number, traceRow: block.used };
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
    isRecorded: isRecorded(piece.sequence.kind, append),
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
export function deliver(
  pieces: readonly Piece[],
  request: StepRequest,
  { result, block }: { result: StepResult; block: RecordingBlock | undefined },
  vocabSize: number,
): void {
  const cursor = new OutputCursor(result, vocabSize);
  const failures = new Map(result.failures?.map(({ segment, error }) => [segment, { error }]));
  for (const [index, { sequence, rows }] of pieces.entries()) {
    const { head, isRecorded } = request.segments[index]!;
    const { pending } = sequence;
    const failure = failures.get(index);
    if (failure !== undefined) sequence.fail(fromNativeError(failure.error));
    if (pending === undefined || failure !== undefined) {
      cursor.skip(head, rows);
    } else {
      cursor.take(head, rows, pending.outputs);
      if (isRecorded) recordRows(sequence, block!, rows);
      advance(sequence, rows);
    }
    if (isRecorded) block!.used += rows;
  }
}

function recordRows({ routes, pending, computed }: Sequence, block: RecordingBlock, rows: number): void {
  const { origin, segment } = pending!.append;
  routes.record({ block, firstRow: block.used, rows, firstPosition: computed, origin, segment });
}

function advance(sequence: Sequence, rows: number): void {
  const { append, start } = sequence.pending!;
  sequence.computed += rows;
  try {
    append.onRows?.(sequence.computed - start);
  } catch (error) {
    sequence.fail(error);
    return;
  }
  if (sequence.computed === start + append.tokenIds.length) sequence.succeed();
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

/** Positions from the beginning of the text on that a trace has, none left out. */
export function recordedFromStart({ columns: { positions } }: RouterTrace): number {
  const gap = positions.findIndex((position, row) => position !== row);
  return gap < 0 ? positions.length : gap;
}
