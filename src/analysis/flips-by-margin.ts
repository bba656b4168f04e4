/**
 * Which routes flip between two files of a model, by the margin that they had: near routes flip, wide ones should not. Derived; in no
 * peer.
 */

import { InvalidArgumentError, invalidArgument } from "../errors.js";
import type { RouterTrace } from "../router/trace.js";
import { RoutingAccumulator, type TraceBatch } from "./accumulator.js";
import { RouteAgreement, sharedExperts, usedSlots } from "./route-agreement.js";
import { marginOf } from "./route-margins.js";

/** Rows (token, layer) whose margin lies in [from, to), and how many of them have another set of experts in the second trace. */
export interface MarginFlips {
  from: number;
  to: number;
  tokens: number;
  flips: number;
}

/** Flips in bins of equal width; the last bin also takes what lies beyond. */
export class FlipsByMargin extends RoutingAccumulator {
  readonly binWidth: number;
  /** [L][bins] */
  readonly #tokens: Float64Array[] = [];
  readonly #flips: Float64Array[] = [];
  readonly #numBins: number;
  readonly #check = new RouteAgreement();
  #other: RouterTrace | undefined;

  /** Bins from 0 to `upTo`. */
  constructor({ binWidth = 0.1, upTo = 2 }: { binWidth?: number; upTo?: number } = {}) {
    super();
    if (!(binWidth > 0 && upTo >= binWidth)) throw invalidArgument("binWidth", "a number from 0 to upTo", binWidth);
    this.binWidth = binWidth;
    this.#numBins = Math.round(upTo / binWidth);
  }

  /** Two traces of the same tokens in the same order; the margins are those of `a`. Throws INVALID_ARGUMENT for other tokens. */
  addPair(a: RouterTrace, b: RouterTrace): this {
    this.#check.addPair(a, b);
    this.#other = b;
    return this.add(a);
  }

  protected take({ trace, shape, tokens }: TraceBatch): void {
    const other = this.#other;
    this.#other = undefined;
    if (other === undefined) throw new InvalidArgumentError("Expected a pair of traces for flips by margin, got one.");
    const numLayers = shape.layers.length;
    for (let layer = 0; layer < numLayers; layer++) {
      this.#tokens[layer] ??= new Float64Array(this.#numBins);
      this.#flips[layer] ??= new Float64Array(this.#numBins);
      for (const token of tokens) {
        const row = token * numLayers + layer;
        const bin = Math.min(this.#numBins - 1, Math.floor(marginOf(trace, row) / this.binWidth));
        this.#tokens[layer]![bin]!++;
        const larger = Math.max(usedSlots(trace, row), usedSlots(other, row));
        if (sharedExperts(trace, row, other, row) < larger) this.#flips[layer]![bin]!++;
      }
    }
  }

  /** The bins of one layer by global number, or of all layers together. */
  bins(layer?: number): MarginFlips[] {
    const index = layer === undefined ? undefined : this.shape.layers.indexOf(layer);
    if (index === -1) throw invalidArgument("layer", `one of ${this.shape.layers.join(", ")}`, layer);
    const pick = (rows: readonly Float64Array[]) => (index === undefined ? rows : [rows[index]!]);
    const sum = (rows: readonly Float64Array[], bin: number) => pick(rows).reduce((total, row) => total + row[bin]!, 0);
    return Array.from({ length: this.#numBins }, (_, bin) => ({
      from: bin * this.binWidth,
      to: (bin + 1) * this.binWidth,
      tokens: sum(this.#tokens, bin),
      flips: sum(this.#flips, bin),
    }));
  }
}
