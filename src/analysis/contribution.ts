/**
 * What experts contribute, from the sums that native code makes in one pass over documents (`Model.contributions`); activations are not
 * kept. f_e is the output of expert e before its gate g; a token counts for e where e was selected and ran with a gate other than 0.
 *
 * Documents are what is independent: every mean has an interval by resampling them. None of these figures has a floor, ceiling or null of
 * its own; they rank experts of one model on one text, and an ablation is what tests the ranking.
 */
import { InvalidArgumentError, invalidArgument } from "../errors.js";
import { type BootstrapOptions, documentBootstrap } from "./bootstrap.js";
import { addScaled, quantileOfSorted } from "./numbers.js";

/** Sums over the tokens of one document; L MoE layers, E experts. */
export interface DocumentSums {
  rows: Float64Array; // [L, E] tokens that count
  gate: Float64Array; // [L, E] g
  norm: Float64Array; // [L, E] |f|
  squaredNorm: Float64Array; // [L, E] |f|^2
  gatedNorm: Float64Array; // [L, E] g |f|
  maxAbs: Float32Array; // [L, E] the largest |f_i|
  pairRows: Float64Array; // [L, E, E] tokens of both; a < b only
  pairCosine: Float64Array; // [L, E, E] cos(f_a, f_b)
  sharedRows: Float64Array; // [L] tokens whose routed sum is not 0
  sharedNorm: Float64Array; // [L] |s f_shared|
  routedNorm: Float64Array; // [L] |sum of g f|
  sharedRatio: Float64Array; // [L] |s f_shared| / |sum of g f|
}

/** A figure for each (layer, expert), or for each layer. */
export interface ContributionFigure {
  values: Float64Array;
  /** Of the document bootstrap; NaN with fewer than two documents. */
  lower: Float64Array;
  upper: Float64Array;
  /** Tokens behind each value. */
  n: Float64Array;
}

/** An expert whose output reaches values far above those of all others. */
export interface SuperExpert {
  layer: number;
  expert: number;
  maxAbs: number;
}

type SumName = Exclude<keyof DocumentSums, "maxAbs">;

/** Contribution figures over documents. */
export class Contributions {
  /** Global numbers of the MoE layers, ascending. */
  readonly layers: readonly number[];
  readonly numExperts: number;
  /** Layers of the model, dense ones included. */
  readonly numLayers: number;
  readonly documents: readonly DocumentSums[];

  /** @throws InvalidArgumentError for no documents, or sums of another shape */
  constructor(
    documents: readonly DocumentSums[],
    shape: { moeLayers: readonly number[]; numExperts: number; numLayers: number },
  ) {
    const slots = shape.moeLayers.length * shape.numExperts;
    if (documents.length === 0) throw new InvalidArgumentError("Expected sums of at least one document, got none.");
    const misfit = documents.find(({ rows }) => rows.length !== slots);
    if (misfit !== undefined) throw invalidArgument("documents", `${slots} (layer, expert) sums`, misfit.rows.length);
    this.layers = shape.moeLayers;
    this.numExperts = shape.numExperts;
    this.numLayers = shape.numLayers;
    this.documents = documents;
  }

  /** Expert activation norm: mean over routed tokens of |f_e|. REAP repository, "EAN"; "MAN" in arXiv 2606.15716. [layers, experts] */
  activationNorm(options?: BootstrapOptions): ContributionFigure {
    return this.#ratio("norm", "rows", options);
  }

  /** The sum over routed tokens of |f_e|: EAN as a saliency that also counts how often an expert is chosen. [layers, experts] */
  totalActivationNorm(): Float64Array {
    return this.#total("norm");
  }

  /** Mean over routed tokens of |f_e|^2: "MSAN", arXiv 2606.15716. [layers, experts] */
  squaredActivationNorm(options?: BootstrapOptions): ContributionFigure {
    return this.#ratio("squaredNorm", "rows", options);
  }

  /**
   * REAP saliency: mean over routed tokens of g |f_e|, g as applied (renormalised only where the model does so). arXiv 2510.13999; it moves
   * with the amount of calibration text. [layers, experts]
   */
  reap(options?: BootstrapOptions): ContributionFigure {
    return this.#ratio("gatedNorm", "rows", options);
  }

  /**
   * Shared to routed: mean over tokens of |s f_shared| / |sum of g f|, s the shared expert's gate. Derived for qwen2_moe. NaN without a
   * shared expert. [layers]
   */
  sharedToRouted(options?: BootstrapOptions): ContributionFigure {
    return this.#ratio("sharedRatio", "sharedRows", options);
  }

  /** The largest |f_e,i| that any token saw; 0 where the expert never ran. [layers, experts] */
  maxActivation(): Float64Array {
    const largest = new Float64Array(this.layers.length * this.numExperts);
    for (const { maxAbs } of this.documents) {
      for (let slot = 0; slot < largest.length; slot++) largest[slot] = Math.max(largest[slot]!, maxAbs[slot]!);
    }
    return largest;
  }

  /**
   * Super experts: the largest |f_e,i| above max(99.5th percentile over all experts, a tenth of the largest of all), in the first three
   * quarters of the model's layers. arXiv 2507.23279; magnitudes, where REAP's `get_super_expert_indices` takes signed maxima. Largest first.
   */
  superExperts(): SuperExpert[] {
    const largest = this.maxActivation();
    const sorted = Float64Array.from(largest).sort();
    const bar = Math.max(quantileOfSorted(sorted, 0.995), (sorted.at(-1) ?? 0) / 10);
    const found: SuperExpert[] = [];
    for (const [slot, maxAbs] of largest.entries()) {
      const layer = this.layers[Math.floor(slot / this.numExperts)]!;
      if (maxAbs > bar && layer < 0.75 * this.numLayers) found.push({ layer, expert: slot % this.numExperts, maxAbs });
    }
    return found.sort((a, b) => b.maxAbs - a.maxAbs);
  }

  /**
   * Similarity of outputs: mean of cos(f_a, f_b) over the tokens that chose both; NaN for pairs that no token chose, 1 on the diagonal.
   * Symmetric. `angular` gives 1 - acos(mean cosine) / pi in its place. REAP, chuk. [layers, experts, experts]
   */
  outputSimilarity(measure: "cosine" | "angular" = "cosine"): Float64Array {
    const cosine = this.#total("pairCosine");
    const rows = this.#total("pairRows");
    const { numExperts } = this;
    const similarity = new Float64Array(cosine.length);
    for (let slot = 0; slot < this.layers.length * numExperts; slot++) {
      const a = slot % numExperts;
      const block = (slot - a) * numExperts;
      for (let b = 0; b < numExperts; b++) {
        const at = block + Math.min(a, b) * numExperts + Math.max(a, b);
        const mean = a === b ? 1 : cosine[at]! / rows[at]!;
        similarity[block + a * numExperts + b] = measure === "cosine" ? mean : 1 - Math.acos(clamp(mean)) / Math.PI;
      }
    }
    return similarity;
  }

  #total(name: SumName, weights?: Float64Array): Float64Array {
    const total = new Float64Array(this.documents[0]![name].length);
    for (const [document, sums] of this.documents.entries()) addScaled(total, sums[name], weights?.[document] ?? 1);
    return total;
  }

  #ratio(over: SumName, under: SumName, options: BootstrapOptions = {}): ContributionFigure {
    const ratioOf = (weights?: Float64Array) => {
      const n = this.#total(under, weights);
      return this.#total(over, weights).map((sum, i) => sum / n[i]!);
    };
    const { lower, upper } = documentBootstrap(this.documents.length, ratioOf, options);
    return { values: ratioOf(), lower, upper, n: this.#total(under) };
  }
}

function clamp(cosine: number): number {
  return Math.max(-1, Math.min(1, cosine));
}
