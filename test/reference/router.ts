/** The router of one MoE layer for one token, with every declared change to it, in the order that the semantics fix. */

/** What of a token a change can be limited to. */
export interface TokenPlace {
  position: number;
  origin: "prompt" | "generated";
  segment: string;
}

/** A recorded route: what a replay puts in the place of the selection. */
export interface ReferenceRoute {
  experts: ArrayLike<number>; // [tokens, k]
  weights: ArrayLike<number>; // [tokens, k]
}

/** A change to routing in its JSON form, with the recorded route of a replay per layer. */
export interface Change {
  kind: string;
  layers: number[] | "all";
  experts?: (number | "shared")[];
  from?: number;
  to?: number;
  bias?: Record<string, number>;
  k?: number;
  weights?: "model" | "recorded";
  routes?: Record<number, ReferenceRoute>;
  positions?: [number, number];
  origin?: string;
  segments?: string[];
}

/** What happens at one token and layer. */
export interface Selection {
  /** The selected ids, in slot order. [k] */
  experts: number[];
  /** What each slot's output is multiplied by. [k] */
  weights: number[];
  /** The expert whose weights run in each slot; differs from `experts` where a swap acts. [k] */
  run: number[];
  /** z'_(k) - z'_(k+1); infinite where no other expert could have been chosen. */
  margin: number;
  runsShared: boolean;
  intervened: boolean;
}

/** `logits` is the raw z of one token. [numExperts] */
export function select(
  logits: Float64Array,
  model: { topK: number; renormalise: boolean },
  layer: number,
  place: TokenPlace,
  changes: Change[],
): Selection {
  const active = changes.filter((change) => acts(change, layer, place));
  const of = (kind: string) => active.filter((change) => change.kind === kind);

  const z = Float64Array.from(logits);
  for (const { bias } of of("bias")) for (const [expert, by] of Object.entries(bias!)) z[Number(expert)]! += by;
  for (const { experts } of of("mask")) for (const expert of experts!) z[Number(expert)] = Number.NEGATIVE_INFINITY;

  const k = of("top-k")[0]?.k ?? model.topK;
  // Ties go to the lower index; equal infinities must not become NaN.
  const ranked = Array.from(z.keys()).sort((a, b) => (z[a] === z[b] ? a - b : z[b]! - z[a]!));
  const forced = new Set(of("force").flatMap(({ experts }) => experts!));
  const rest = ranked.filter((expert) => !forced.has(expert));
  const chosen = new Set([...forced, ...rest.slice(0, k - forced.size)]);
  let experts = ranked.filter((expert) => chosen.has(expert));

  const highest = Math.max(...z);
  const exponentials = z.map((value) => Math.exp(value - highest));
  const total = exponentials.reduce((sum, value) => sum + value, 0);
  const probability = exponentials.map((value) => value / total);
  const finish = (ids: number[]) => {
    const sum = model.renormalise ? ids.reduce((partial, expert) => partial + probability[expert]!, 0) : 1;
    return ids.map((expert) => probability[expert]! / sum);
  };
  let weights = finish(experts);
  for (const replay of of("replay")) {
    const route = replay.routes![layer]!;
    const slots = Array.from({ length: k }, (_, slot) => place.position * k + slot);
    experts = slots.map((slot) => route.experts[slot]!);
    weights = replay.weights === "recorded" ? slots.map((slot) => route.weights[slot]!) : finish(experts);
  }

  const zeroed = new Set(of("zero").flatMap((change) => change.experts!));
  weights = weights.map((weight, slot) => (zeroed.has(experts[slot]!) ? 0 : weight));
  const replacement = new Map(of("swap").map(({ from, to }) => [from!, to!]));
  const run = experts.map((expert) => replacement.get(expert) ?? expert);
  const margin = k < z.length ? z[ranked[k - 1]!]! - z[ranked[k]!]! : Number.POSITIVE_INFINITY;
  return { experts, weights, run, margin, runsShared: !zeroed.has("shared"), intervened: active.length > 0 };
}

function acts(change: Change, layer: number, place: TokenPlace): boolean {
  const [start, end] = change.positions ?? [0, Number.POSITIVE_INFINITY];
  return (
    (change.layers === "all" || change.layers.includes(layer)) &&
    start <= place.position &&
    place.position < end &&
    (change.origin ?? place.origin) === place.origin &&
    (change.segments ?? [place.segment]).includes(place.segment)
  );
}
