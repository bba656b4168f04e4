/** Expert load as a small heat map for a terminal: one row per MoE layer, one cell per expert. */
import type { ExpertLoad } from "../router/expert-load.js";

/** From idle to four times the even share. */
const BLOCKS = [" ", "░", "▒", "▓", "█"] as const;
const MOST = 4;
/** Positions in the 256-colour cube from blue over green and yellow to red. */
const COLOURS = [17, 19, 25, 31, 37, 71, 107, 143, 179, 209, 203, 196] as const;

export interface HeatmapOptions {
  /** Colour cells; only where a person looks. */
  colour?: boolean;
  /** Columns of the terminal; experts are pooled until a row fits. Default 80. */
  width?: number;
}

/**
 * Utilisation (1 is even) by layer and expert. Each cell is one expert, or the mean of several where there are more than columns.
 * Behind each row: the most used expert and the coefficient of variation of the layer's counts.
 */
export function expertHeatmap(load: ExpertLoad, options: HeatmapOptions = {}): string {
  const { colour = false } = options;
  // A terminal that does not know its width says 0.
  const width = options.width || 80;
  const { layers, numExperts } = load;
  if (layers.length === 0) return "This model has no routed experts.";
  const utilization = load.utilization();
  const cv = load.loadCv();
  const cellWidth = numExperts * 2 + 36 <= width ? 2 : 1;
  const pooled = Math.max(1, Math.ceil((numExperts * cellWidth) / Math.max(8, width - 36)));
  const rows = layers.map((layer, index) => {
    const values = Array.from(utilization.subarray(index * numExperts, (index + 1) * numExperts));
    const cells = pool(values, pooled).map((value) => cell(value, cellWidth, colour));
    const busiest = values.indexOf(Math.max(...values));
    const note = Number.isNaN(values[0])
      ? "no tokens"
      : `expert ${busiest} ×${values[busiest]!.toFixed(1)}, cv ${cv[index]!.toFixed(2)}`;
    return `layer ${String(layer).padStart(String(layers.at(-1)).length)} │${cells.join("")}│ ${note}`;
  });
  return [...rows, `${heatmapLegend(pooled, colour)}, cv = spread over experts (0 is even)`].join("\n");
}

/** What the cells mean. */
export function heatmapLegend(pooled: number, colour: boolean, most: number = MOST): string {
  const each = pooled === 1 ? "one cell per expert" : `each cell ${pooled} experts`;
  const scale = colour ? "dark = idle, red" : "blank = idle, █";
  return `${each}; ${scale} = ${most} times the even share or more`;
}

/** Means of `size` neighbours. */
export function pool(values: readonly number[], size: number): number[] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) => {
    const part = values.slice(index * size, (index + 1) * size);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

/** One cell of utilisation `value`; it is full at `most`. */
export function cell(value: number, width: number, colour: boolean, most: number = MOST): string {
  const share = Number.isNaN(value) ? 0 : Math.min(value / most, 1);
  if (colour) {
    const shade = COLOURS[Math.min(COLOURS.length - 1, Math.floor(share * COLOURS.length))]!;
    return `\x1b[48;5;${shade}m${" ".repeat(width)}\x1b[0m`;
  }
  return BLOCKS[value > 0 ? Math.max(1, Math.round(share * (BLOCKS.length - 1))) : 0]!.repeat(width);
}
