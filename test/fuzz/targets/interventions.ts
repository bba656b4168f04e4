import { checkInterventions } from "../../../src/router/intervention-check.js";
import { parseInterventions } from "../../../src/router/interventions.js";
import { type FuzzTarget, fuzzTarget } from "../target.js";

const SHAPE = {
  numLayers: 4,
  moeLayers: [1, 2, 3],
  numExperts: 8,
  numExpertsPerToken: 2,
  normTopkProb: false,
  hasSharedExpert: true,
};

/** The JSON of `--intervene`, and its check against a model. */
export const fuzz: FuzzTarget = fuzzTarget((data) => {
  let value: unknown;
  try {
    value = JSON.parse(data.toString("utf8"));
  } catch {
    return; // the command line says so before it comes to this
  }
  checkInterventions(parseInterventions(value), SHAPE);
});
