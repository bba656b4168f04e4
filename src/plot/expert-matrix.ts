/** Matrices of expert against expert: who serves the same token, and who serves it next. */

import { CELL } from "./expert-cells.js";
import { Figure } from "./figure.js";
import { AMOUNT_RANGE, DEVIATION_RANGE, INK, MISSING_COLOR, MUTED } from "./theme.js";
import { cellSize, checkSize, finite, sparseLabels } from "./values.js";

export interface CoactivationData {
  layer: number;
  numExperts: number;
  /** PMI of each pair i < j less its value under uniform routing; -Infinity for pairs that never met. [N (N - 1) / 2] */
  pmiCorrected: ArrayLike<number>;
  title?: string;
}

/** Co-activation of pairs: blue meets more often than chance, orange with a dash less, a cross never, grey has a dead expert. */
export function coactivationHeatmap({ layer, numExperts, pmiCorrected, title }: CoactivationData): Figure {
  checkSize("pmiCorrected", pmiCorrected, "pairs", (numExperts * (numExperts - 1)) / 2);
  const values: { i: number; j: number; value: number | null; never: boolean }[] = [];
  for (let i = 0, pair = 0; i < numExperts; i++) {
    for (let j = i + 1; j < numExperts; j++, pair++) {
      const cell = { value: finite(pmiCorrected[pair]!), never: pmiCorrected[pair] === Number.NEGATIVE_INFINITY };
      values.push({ i, j, ...cell }, { i: j, j: i, ...cell });
    }
  }
  const most = Math.max(0.5, ...values.map(({ value }) => Math.abs(value ?? 0)));
  const size = cellSize(numExperts);
  const labels = sparseLabels(numExperts);
  const x = { field: "j", type: "ordinal", axis: { title: "expert", values: labels, labelAngle: 0 } } as const;
  const y = { field: "i", type: "ordinal", axis: { title: "expert", values: labels } } as const;
  return new Figure(`Co-activation of ${numExperts} experts in layer ${layer}, 0 is chance.`, {
    title: {
      text: title ?? `Experts that serve the same token, layer ${layer}`,
      subtitle: "PMI, nats above uniform routing; dash: less often, x: never met, grey: one is dead",
    },
    data: { values },
    width: { step: size },
    height: { step: size },
    layer: [
      {
        mark: CELL,
        encoding: {
          x,
          y,
          color: {
            condition: [
              { test: "datum.never", value: "#ffffff" },
              { test: "datum.value === null", value: MISSING_COLOR },
            ],
            field: "value",
            type: "quantitative",
            scale: { range: DEVIATION_RANGE, domain: [-most, most] },
            legend: { title: "PMI", gradientLength: 120 },
          },
        },
      },
      {
        // On a grey printer both ends of the scale are dark: the dash says which is which.
        transform: [{ filter: `datum.value < ${-most / 4}` }],
        mark: { type: "point", shape: "stroke", size: size * 2, color: INK, strokeWidth: 1.2, opacity: 1 },
        encoding: { x, y },
      },
      {
        transform: [{ filter: "datum.never" }],
        mark: { type: "point", shape: "cross", angle: 45, size: size * 2, color: MUTED, filled: true },
        encoding: { x, y },
      },
    ],
  });
}

export interface TransitionData {
  /** The two neighbouring MoE layers. */
  layers: readonly [from: number, to: number];
  numExperts: number;
  /** P(e' given e), rows e; a row of NaN for an e that was never chosen. [numExperts, numExperts] */
  probability: ArrayLike<number>;
  title?: string;
}

/** Layer transitions: where the tokens of an expert go in the next MoE layer; grey rows were never chosen. */
export function transitionHeatmap({ layers, numExperts, probability, title }: TransitionData): Figure {
  checkSize("probability", probability, "experts x experts", numExperts * numExperts);
  const values = Array.from(probability, (value, cell) => ({
    from: Math.floor(cell / numExperts),
    to: cell % numExperts,
    value: finite(value),
  }));
  const labels = sparseLabels(numExperts);
  const [from, to] = layers;
  const size = cellSize(numExperts);
  return new Figure(`Transitions of ${numExperts} experts from layer ${from} to layer ${to}.`, {
    title: {
      text: title ?? `From layer ${from} to layer ${to}`,
      subtitle: "share of an expert's tokens that each expert of the next layer gets; rows sum to 1",
    },
    data: { values },
    width: { step: size },
    height: { step: size },
    mark: CELL,
    encoding: {
      x: { field: "to", type: "ordinal", axis: { title: `expert, layer ${to}`, values: labels, labelAngle: 0 } },
      y: { field: "from", type: "ordinal", axis: { title: `expert, layer ${from}`, values: labels } },
      color: {
        condition: { test: "datum.value === null", value: MISSING_COLOR },
        field: "value",
        type: "quantitative",
        scale: { range: AMOUNT_RANGE, domainMin: 0 },
        legend: { title: "share", gradientLength: 120 },
      },
    },
  });
}
