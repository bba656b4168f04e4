/** Who may start: calls take turns, memory is set aside first, and what a neighbour is about to compute is waited for. */
import type { Call } from "./call.js";
import { answers, commonPrefix, MIN_PREFIX } from "./prefix-tree.js";
import type { Sequence } from "./sequence.js";
import { firstWantedRow } from "./work.js";

/**
 * Waiting sequences in the order in which they may start: one of each call in turn, the call first that was admitted longest ago.
 * `isReady` is asked once for each; what it passes over keeps its place.
 */
export function* candidates(calls: Iterable<Call>, isReady: (sequence: Sequence) => boolean): Generator<Sequence> {
  const queues = new Map<Call, Iterator<Sequence>>();
  for (const call of calls) if (call.waiting.size > 0) queues.set(call, [...call.waiting].values());
  while (queues.size > 0) {
    const [call] = [...queues.keys()].sort((a, b) => a.admittedAt - b.admittedAt);
    let next = queues.get(call!)!.next();
    while (!next.done && !isReady(next.value)) next = queues.get(call!)!.next();
    if (next.done) queues.delete(call!);
    else yield next.value;
  }
}

/** Positions of a sequence's first append that need not run for it. */
export function reusableLength({ pending, symbols }: Sequence): number {
  return Math.min(symbols.length, firstWantedRow(pending!.append));
}

/**
 * The active sequence that holds or is about to compute the longest beginning of this one, if that is at least MIN_PREFIX positions
 * more than `length`.
 */
export function findDonor(
  sequence: Sequence,
  active: Iterable<Sequence>,
  length: number,
): { sequence: Sequence; until: number } | undefined {
  const { symbols, wanted } = sequence;
  const limit = reusableLength(sequence);
  let best: { sequence: Sequence; until: number } | undefined;
  let most = length + MIN_PREFIX - 1;
  for (const other of active) {
    // The first comparison spares the second in nearly all cases.
    if (other.isClosed || other.symbolAt(length) !== symbols[length] || !answers(other.kind, wanted)) continue;
    const until = Math.min(limit, commonPrefix(other.symbols, symbols));
    if (until <= most) continue;
    most = until;
    best = { sequence: other, until };
  }
  return best;
}

/** Whether a sequence still waits for its donor. */
export function awaitsDonor({ donor }: Sequence): boolean {
  return donor !== undefined && !donor.sequence.isClosed && donor.sequence.computed < donor.until;
}
