/** What routing code needs to know of a model. */

import type { PlanConfig } from "../native/binding.js";

/** The part of a model's config that decides what a router can do; layer numbers are global and count from 0. */
export interface RouterShape {
  numLayers: number;
  /** Layers that have a router, ascending. */
  moeLayers: readonly number[];
  /** Routed experts of each such layer; 0 in a dense model. */
  numExperts: number;
  numExpertsPerToken: number;
  /** Whether the k gates of a token are divided by their sum. */
  normTopkProb: boolean;
  hasSharedExpert: boolean;
}

/** The shape that a load plan describes. */
export function routerShapeOf(config: PlanConfig): RouterShape {
  return {
    numLayers: config.numLayers,
    moeLayers: Array.from(config.isMoeLayer.keys()).filter((layer) => config.isMoeLayer[layer] === 1),
    numExperts: config.numExperts,
    numExpertsPerToken: config.numExpertsPerToken,
    normTopkProb: config.normTopkProb,
    hasSharedExpert: config.sharedExpertIntermediateSize > 0,
  };
}
