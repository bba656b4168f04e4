import { createHash } from "node:crypto";
import type { TraceKey } from "../router/schema.js";
import type { RouterTrace } from "../router/trace.js";

/**
 * Few-shot prompts make neighbouring requests begin alike, for far more tokens than they differ in. Routes of equal tokens after equal
 * tokens are equal, so the common beginning is stored once, under a key of its own, and the requests refer to it.
 */

/** The routes of one request and whose they are. */
export interface KeyedTrace {
  key: TraceKey;
  trace: RouterTrace;
}

/** Shorter beginnings cost less to repeat than to refer to. */
const MIN_SHARED_TOKENS = 32;

/**
 * The same routes with common beginnings taken out: first the prefixes that `isStored` does not know, then what is left of each request.
 * Every request keeps at least its last token.
 */
export function withSharedPrefixes(
  traces: readonly KeyedTrace[],
  isStored: (prefix: TraceKey) => boolean,
): { prefixes: KeyedTrace[]; requests: KeyedTrace[] } {
  const prefixes: KeyedTrace[] = [];
  const requests: KeyedTrace[] = [];
  for (const { members, shared } of groupsOfNeighbours(traces)) {
    if (members.length === 1 || shared < MIN_SHARED_TOKENS) {
      requests.push(...members);
      continue;
    }
    const beginning = members[0]!.trace.slice(0, shared);
    const { run, task } = members[0]!.key;
    const prefix: TraceKey = { run, task, prefixId: idOf(beginning) };
    const isNew = !isStored(prefix) && !prefixes.some(({ key }) => prefixName(key) === prefixName(prefix));
    if (isNew) prefixes.push({ key: prefix, trace: beginning });
    for (const { key, trace } of members) {
      requests.push({ key: { ...key, prefixId: prefix.prefixId }, trace: trace.slice(shared) });
    }
  }
  return { prefixes, requests };
}

/** A prefix's name within a run. */
export function prefixName({ task, prefixId }: TraceKey): string {
  return `${task} ${prefixId}`;
}

/** Runs of neighbours of one task that share at least half of the shorter one's tokens, and the number that all of them share. */
function groupsOfNeighbours(traces: readonly KeyedTrace[]): { members: KeyedTrace[]; shared: number }[] {
  const groups: { members: KeyedTrace[]; shared: number }[] = [];
  for (const member of traces) {
    const group = groups.at(-1);
    const common = group === undefined ? 0 : commonOf(group.members.at(-1)!, member);
    if (group !== undefined && common > 0) {
      group.members.push(member);
      group.shared = Math.min(group.shared, common);
    } else {
      groups.push({ members: [member], shared: member.trace.numTokens - 1 });
    }
  }
  return groups;
}

/** Tokens that two requests begin with alike, never the last one; 0 where that is not worth a group. */
function commonOf(a: KeyedTrace, b: KeyedTrace): number {
  if (a.key.task !== b.key.task) return 0;
  const shorter = Math.min(a.trace.numTokens, b.trace.numTokens);
  const [idsA, idsB] = [a.trace.columns.tokenIds, b.trace.columns.tokenIds];
  const [placesA, placesB] = [a.trace.columns.positions, b.trace.columns.positions];
  // Only from position 0 on: behind rows that are not recorded, equal tokens are no common beginning.
  const isCommon = (row: number) => idsA[row] === idsB[row] && placesA[row] === row && placesB[row] === row;
  let common = 0;
  while (common < shorter - 1 && isCommon(common)) common++;
  return common * 2 >= shorter ? common : 0;
}

function idOf({ columns }: RouterTrace): string {
  const { buffer, byteOffset, byteLength } = columns.tokenIds;
  const hash = createHash("sha256").update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.digest("hex").slice(0, 16);
}
