import { useGrid } from "./expert-cells.js";
import { Figure } from "./figure.js";
import { cellSize, checkSize, finite } from "./values.js";

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
  return new Figure(`Expert load of ${layers.length} layers x ${numExperts} experts, 1 is the even share.`, {
    title: { text: title, subtitle: "times the even share; a dot marks an expert that was never chosen" },
    data: { values },
    ...useGrid({
      ...{ numExperts, values, rowHeight: Math.max(12, cellSize(numExperts)) },
      rows: { field: "layer", title: "layer" },
      legend: { title: "load", gradientLength: 100 },
    }),
  });
}
