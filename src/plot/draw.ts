/** Plots as plain data: what a library object or a report holds that may not, or need not, draw. */

import { invalidArgument } from "../errors.js";
import { type ConfidenceLineData, confidenceLine } from "./confidence-line.js";
import { type DomainHeatmapData, domainHeatmap } from "./domain-heatmap.js";
import { type CoactivationData, coactivationHeatmap, type TransitionData, transitionHeatmap } from "./expert-matrix.js";
import { type ExpertTextData, expertText } from "./expert-text.js";
import type { Displayable } from "./figure.js";
import { type ForestData, forestPlot } from "./forest-plot.js";
import { type LoadHeatmapData, loadHeatmap } from "./load-heatmap.js";
import { type MarginHistogramData, marginHistogram } from "./margin-histogram.js";

/** The numbers of a plot under its name. `ExpertLoad.heatmap()` returns one. */
export type PlotData =
  | ({ plot: "load-heatmap" } & LoadHeatmapData)
  | ({ plot: "domain-heatmap" } & DomainHeatmapData)
  | ({ plot: "coactivation" } & CoactivationData)
  | ({ plot: "transitions" } & TransitionData)
  | ({ plot: "margin-histogram" } & MarginHistogramData)
  | ({ plot: "forest" } & ForestData)
  | ({ plot: "confidence-line" } & ConfidenceLineData)
  | ({ plot: "expert-text" } & ExpertTextData);

/** Draws a plot from its data. Throws INVALID_ARGUMENT for a name that is no plot. */
export function draw(data: PlotData): Displayable {
  switch (data.plot) {
    case "load-heatmap":
      return loadHeatmap(data);
    case "domain-heatmap":
      return domainHeatmap(data);
    case "coactivation":
      return coactivationHeatmap(data);
    case "transitions":
      return transitionHeatmap(data);
    case "margin-histogram":
      return marginHistogram(data);
    case "forest":
      return forestPlot(data);
    case "confidence-line":
      return confidenceLine(data);
    case "expert-text":
      return expertText(data);
    default:
      throw invalidArgument("plot", "the name of a plot", (data as { plot?: unknown }).plot);
  }
}

/**
 * Representations of anything that can be drawn, by MIME type: of a figure, or of plot data. Undefined for every other value, which a
 * notebook then prints.
 */
export async function mimeBundleOf(value: unknown): Promise<Record<string, unknown> | undefined> {
  if (typeof value !== "object" || value === null) return undefined;
  if ("mimeBundle" in value && typeof value.mimeBundle === "function") return (value as Displayable).mimeBundle();
  if ("plot" in value && typeof value.plot === "string") return draw(value as PlotData).mimeBundle();
  return undefined;
}
