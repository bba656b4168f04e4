/** Assignments per layer and expert, and the load figures that follow from them alone. Formulas: specs of the routing metrics. */

import { invalidArgument } from "../errors.js";

/** The numbers of a heat map of the load, plain data: `draw` of the plots makes a figure of it, `show` in a notebook its picture. */
export interface LoadHeatmap {
  plot: "load-heatmap";
  layers: readonly number[];
  numExperts: number;
  /** As `ExpertLoad.utilization`. [layers.length, numExperts] */
  utilization: readonly number[];
  title?: string;
}

/**
 * How often each expert was chosen. Rows are MoE layers by their global number. A layer that saw no token has no distribution: its
 * figures are NaN, not 0.
 */
export class ExpertLoad {
  /** Assignments. [layers.length, numExperts] */
  readonly counts: Float64Array;
  /** Global layer numbers, ascending. */
  readonly layers: readonly number[];
  readonly numExperts: number;

  /** `counts` is kept, not copied. Throws INVALID_ARGUMENT where its length does not fit. */
  constructor(counts: Float64Array, layers: readonly number[], numExperts: number) {
    if (counts.length !== layers.length * numExperts) {
      throw invalidArgument("counts", `${layers.length} layers x ${numExperts} experts`, counts.length);
    }
    this.counts = counts;
    this.layers = layers;
    this.numExperts = numExperts;
  }

  /** The counts of one layer, a view. [numExperts] */
  layer(layer: number): Float64Array {
    const index = this.layers.indexOf(layer);
    if (index < 0) throw invalidArgument("layer", `one of the MoE layers ${this.layers.join(", ")}`, layer);
    return this.counts.subarray(index * this.numExperts, (index + 1) * this.numExperts);
  }

  /** Selection share f = c / sum of c, by layer; sums to 1, 1/numExperts is even. [layers.length, numExperts] */
  fraction(): Float64Array {
    return this.#perLayer((counts, total) => counts.map((count) => count / total));
  }

  /** Load over the fair share, numExperts x f, by layer; 1 is even. [layers.length, numExperts] */
  utilization(): Float64Array {
    return this.#perLayer((counts, total) => counts.map((count) => (count * this.numExperts) / total));
  }

  /** Coefficient of variation of the counts, sd (divisor numExperts) over mean, by layer; 0 is even. [layers.length] */
  loadCv(): Float64Array {
    return this.#perLayer((counts, total) => {
      const mean = total / this.numExperts;
      const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / this.numExperts;
      return Float64Array.of(Math.sqrt(variance) / mean);
    });
  }

  /** The load as plot data: dark is busy, 1 the even share. */
  heatmap(title?: string): LoadHeatmap {
    const { layers, numExperts } = this;
    return { plot: "load-heatmap", layers, numExperts, utilization: Array.from(this.utilization()), title };
  }

  #perLayer(figure: (counts: Float64Array, total: number) => Float64Array): Float64Array {
    const rows = this.layers.map((layer) => {
      const counts = this.layer(layer);
      return figure(
        counts,
        counts.reduce((sum, count) => sum + count, 0),
      );
    });
    const width = rows[0]?.length ?? 0;
    const all = new Float64Array(rows.length * width);
    for (const [index, row] of rows.entries()) all.set(row, index * width);
    return all;
  }
}
