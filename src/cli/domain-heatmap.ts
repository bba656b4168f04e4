/** Expert load of several domains side by side: one row per MoE layer, one block of cells per domain. */
import type { ExpertLoad } from "../router/expert-load.js";
import { cell, type HeatmapOptions, heatmapLegend, pool } from "./heatmap.js";

/** A cell is full at this multiple of the even share: domains are to be told apart, outliers less so. */
const MOST = 2.5;

export interface DomainLoad {
  name: string;
  load: ExpertLoad;
}

/** Utilisation (1 is even) by layer and expert; experts are pooled until the blocks fit the width. All loads are of one model. */
export function domainHeatmap(domains: readonly DomainLoad[], options: HeatmapOptions = {}): string {
  const { colour = false } = options;
  const [first] = domains;
  if (first === undefined || first.load.layers.length === 0) return "This model has no routed experts.";
  const { layers, numExperts } = first.load;
  const room = Math.max(4, Math.floor(((options.width || 80) - 12) / domains.length) - 3);
  const cellWidth = numExperts * 2 <= room ? 2 : 1;
  const pooled = Math.max(1, Math.ceil((numExperts * cellWidth) / room));
  const blockWidth = Math.max(Math.ceil(numExperts / pooled) * cellWidth, ...domains.map(({ name }) => name.length));
  const utilization = domains.map(({ load }) => load.utilization());
  const rows = layers.map((layer, row) => {
    const blocks = utilization.map((values) => {
      const cells = pool(Array.from(values.subarray(row * numExperts, (row + 1) * numExperts)), pooled);
      const padding = " ".repeat(blockWidth - cells.length * cellWidth);
      return cells.map((value) => cell(value, cellWidth, colour, MOST)).join("") + padding;
    });
    return `layer ${String(layer).padStart(3)} │${blocks.join("│ ")}│`;
  });
  const names = domains.map(({ name }) => name.padEnd(blockWidth)).join("  ");
  return [`${" ".repeat(11)}${names}`.trimEnd(), ...rows, heatmapLegend(pooled, colour, MOST)].join("\n");
}
