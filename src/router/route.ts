/** A recorded route: what a replay puts in the place of the router's own choice. */

import { createHash } from "node:crypto";
import { InvalidArgumentError } from "../errors.js";
import type { TraceParts } from "./trace-columns.js";

/** The routes of consecutive tokens of one sequence. */
export interface RecordedRoute {
  /** Position of the first token. */
  start: number;
  tokenIds: Int32Array; // [tokens]
  /** Global layer numbers, ascending. */
  layers: readonly number[];
  /** Slots per row. */
  k: number;
  experts: Uint16Array; // [tokens, layers.length, k]
  weights: Float32Array; // [tokens, layers.length, k] as applied when they were recorded
}

/** The route of a trace of one sequence. Throws INVALID_ARGUMENT at the first position that does not follow the one before. */
export function routeOf({ layout, columns }: TraceParts): RecordedRoute {
  const { positions, tokenIds, topkExperts, topkWeights } = columns;
  if (positions.length === 0)
    throw new InvalidArgumentError("Expected a trace of at least one token to replay, got an empty one.");
  const start = positions[0]!;
  const gap = positions.findIndex((position, token) => position !== start + token);
  if (gap >= 0) {
    throw new InvalidArgumentError(
      `Expected a trace of consecutive positions to replay, got position ${positions[gap]} after ${positions[gap - 1]}.`,
    );
  }
  return { start, tokenIds, layers: layout.layers, k: layout.topK, experts: topkExperts, weights: topkWeights };
}

/** A name for the route's content: equal for equal routes. */
export function digestOfRoute(route: RecordedRoute): string {
  const hash = createHash("sha256").update(JSON.stringify([route.start, route.layers, route.k]));
  for (const { buffer, byteOffset, byteLength } of [route.tokenIds, route.experts, route.weights]) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return `sha256:${hash.digest("hex")}`;
}

/**
 * Throws INVALID_ARGUMENT at the first position where `tokenIds`, which stand at `start` and after, are not the tokens of the route, or
 * that the route does not cover. `positions` is the scope of the replay: only those are compared.
 */
export function assertRouteFits(
  route: RecordedRoute,
  tokenIds: ArrayLike<number>,
  start: number,
  positions: readonly [start: number, end: number] = [0, Number.POSITIVE_INFINITY],
): void {
  const first = Math.max(start, positions[0]);
  const end = Math.min(start + tokenIds.length, positions[1]);
  for (let position = first; position < end; position++) {
    const recorded = route.tokenIds[position - route.start];
    const actual = tokenIds[position - start];
    if (recorded === actual) continue;
    const last = route.start + route.tokenIds.length - 1;
    throw new InvalidArgumentError(
      recorded === undefined
        ? `The replayed route covers positions ${route.start} to ${last}, the text has position ${position}.`
        : `The replayed route has token ${recorded} at position ${position}, the text has ${actual}.`,
    );
  }
}
