/** How much better a text could have gone with other experts at the same cost: the regret of the standard route. */

import { withProgress } from "../ambient-progress.js";
import { type BootstrapOptions, documentBootstrap } from "../analysis/bootstrap.js";
import { Random } from "../analysis/random.js";
import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { Model } from "../model/model.js";
import { replay } from "../router/intervention-builders.js";
import type { RecordedRoute } from "../router/route.js";
import type { RouterTrace } from "../router/trace.js";
import { forced, logprobOf } from "./forced.js";

/** A text whose tokens from `goldStart` on are the right answer. */
export interface GoldText {
  tokenIds: ArrayLike<number>;
  goldStart: number;
}

export interface RegretOptions extends Omit<BootstrapOptions, "resamples"> {
  /** Routes that are sampled for each text, default 16. The best of more is better: state it with the figure. */
  routes?: number;
  /** Experts are drawn from softmax(z / temperature); default 1. */
  temperature?: number;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

export interface TextRegret {
  /** ln p(gold) on the model's own route. */
  standard: number;
  /** ln p(gold) on each sampled route. [routes] */
  sampled: Float64Array;
  /** The best of `sampled` less `standard`; below 0 where the router chose better than all of them. */
  regret: number;
}

export interface RouteRegret {
  routes: number;
  temperature: number;
  texts: readonly TextRegret[];
  /** Mean regret over texts, with an interval by resampling them. */
  mean: number;
  interval: readonly [lower: number, upper: number];
  /**
   * Null: mean over texts of (a sampled route - `standard`), the regret of one route drawn without looking at the answer. The best of several
   * exceeds it by selection alone.
   */
  typical: number;
}

/**
 * Best ln p(gold) over sampled routes of as many experts, less ln p(gold) on the standard route. arXiv 2605.07260. A route has k distinct
 * experts for each token and MoE layer, drawn without replacement from the standard pass's router (Gumbel top-k); gates are the
 * running pass's own, so the cost is equal.
 *
 * @throws InvalidArgumentError for no texts, a model without experts, or a text without gold tokens behind its first
 */
export function routeRegret(
  model: Model,
  texts: readonly GoldText[],
  options: RegretOptions = {},
): Promise<RouteRegret> {
  return withProgress(
    options.onProgress,
    { label: "route regret", unit: "texts", move: (bar, done, total) => bar.update(done, total) },
    (onProgress) => regretOf(model, texts, { ...options, onProgress }),
  );
}

async function regretOf(model: Model, texts: readonly GoldText[], options: RegretOptions): Promise<RouteRegret> {
  const { routes = 16, temperature = 1, seed = 0, level, signal, onProgress } = options;
  if (!(Number.isInteger(routes) && routes > 0)) throw invalidArgument("routes", "a whole number from 1", routes);
  if (!(temperature > 0)) throw invalidArgument("temperature", "a number above 0", temperature);
  if (texts.length === 0) throw new InvalidArgumentError("Expected at least one text with a right answer, got none.");
  const random = new Random(seed);
  const found: TextRegret[] = [];
  for (const [done, { tokenIds, goldStart }] of texts.entries()) {
    onProgress?.(done, texts.length);
    if (!(Number.isInteger(goldStart) && goldStart >= 1 && goldStart < tokenIds.length)) {
      throw invalidArgument(`texts[${done}].goldStart`, `a token number from 1 to ${tokenIds.length - 1}`, goldStart);
    }
    const ids = Int32Array.from(tokenIds);
    const { logits, trace } = await forced(model, ids, signal);
    const standard = goldLogprob(logits, ids, goldStart);
    const sampled = new Float64Array(routes);
    for (let route = 0; route < routes; route++) {
      const other = replay({
        layers: [...trace.layers],
        weights: "model",
        route: sampleRoute(trace, temperature, random),
      });
      const run = await model.with(other).forward(ids, { logits: "all", signal });
      sampled[route] = goldLogprob(run.logits, ids, goldStart);
    }
    found.push({ standard, sampled, regret: Math.max(...sampled) - standard });
  }
  onProgress?.(texts.length, texts.length);
  const meanOf = (weights?: Float64Array) =>
    found.reduce((sum, { regret }, text) => sum + (weights?.[text] ?? 1) * regret, 0) / found.length;
  const { lower, upper } = documentBootstrap(found.length, (weights) => [meanOf(weights)], { level, seed });
  const typical = found.map(
    ({ sampled, standard }) => sampled.reduce((sum, value) => sum + value, 0) / routes - standard,
  );
  return {
    ...{ routes, temperature, texts: found, mean: meanOf(), interval: [lower[0]!, upper[0]!] },
    typical: typical.reduce((sum, value) => sum + value, 0) / typical.length,
  };
}

function goldLogprob(logits: Float32Array, ids: Int32Array, goldStart: number): number {
  const width = logits.length / ids.length;
  let sum = 0;
  for (let token = goldStart; token < ids.length; token++) {
    sum += logprobOf(logits.subarray((token - 1) * width, token * width), ids[token]!);
  }
  return sum;
}

/**
 * A route of the trace's size drawn from its logits: the k largest of z / temperature + Gumbel noise are k draws without replacement from
 * the softmax (Kool et al. 2019, arXiv 1903.06059). Experts at -Infinity are never drawn while others are left.
 */
export function sampleRoute(trace: RouterTrace, temperature: number, random: Random): RecordedRoute {
  const route = trace.route();
  const { routerLogits } = trace.columns;
  const numExperts = trace.layout.metadata.numExperts;
  const experts = new Uint16Array(route.experts.length);
  const keys = new Float64Array(numExperts);
  for (let row = 0; row < experts.length / route.k; row++) {
    for (let e = 0; e < numExperts; e++) {
      keys[e] = routerLogits[row * numExperts + e]! / temperature - Math.log(-Math.log(random.next() || 2 ** -33));
    }
    const order = [...keys.keys()].sort((a, b) => keys[b]! - keys[a]! || a - b);
    experts.set(order.slice(0, route.k), row * route.k);
  }
  return { ...route, experts };
}
