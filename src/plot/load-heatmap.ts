import { Figure } from "./figure.js";
import { AMOUNT_RANGE, INK, MISSING_COLOR } from "./theme.js";
import { cellSize, checkSize, finite, sparseLabels } from "./values.js";

export interface LoadHeatmapData {
  /** Global layer numbers, from top to bottom. */
  layers: readonly number[];
  numExperts: number;
  /** N times the selection share: 1 is even. NaN where a layer saw no token. [layers.length, numExperts] */
  utilization: ArrayLike<number>;
  title?: string;
}

/** Expert load, layer x expert: dark is busy, a dot marks an expert that was never chosen, grey a layer without tokens. */
export function loadHeatmap({ layers, numExperts, utilization, title = "Expert load" }: LoadHeatmapData): Figure {
  checkSize("utilization", utilization, "layers x experts", layers.length * numExperts);
  const values = Array.from(utilization, (value, slot) => ({
    layer: layers[Math.floor(slot / numExperts)]!,
    expert: slot % numExperts,
    value: finite(value),
  }));
  const size = cellSize(numExperts);
  const most = Math.max(2, ...values.map(({ value }) => value ?? 0));
  const x = {
    field: "expert",
    type: "ordinal",
    axis: { title: "expert", values: sparseLabels(numExperts), labelAngle: 0 },
  } as const;
  const y = { field: "layer", type: "ordinal", axis: { title: "layer" } } as const;
  return new Figure(`Expert load of ${layers.length} layers x ${numExperts} experts, 1 is the even share.`, {
    title: { text: title, subtitle: "times the even share; a dot marks an expert that was never chosen" },
    data: { values },
    width: { step: size },
    height: { step: Math.max(size, 12) },
    layer: [
      {
        mark: { type: "rect", stroke: "#cfcfcf", strokeWidth: 0.4 },
        encoding: {
          x,
          y,
          color: {
            condition: { test: "datum.value === null", value: MISSING_COLOR },
            field: "value",
            type: "quantitative",
            scale: { range: AMOUNT_RANGE, domain: [0, most] },
            legend: { title: "load", gradientLength: 100 },
          },
        },
      },
      {
        transform: [{ filter: "datum.value === 0" }],
        mark: { type: "circle", size: size * 1.2, color: INK, opacity: 1 },
        encoding: { x, y },
      },
    ],
  });
}
