/** Plots as SVG, PNG and Vega-Lite. */
import { MoescopeError } from "../../errors.js";
import { draw, type PlotData } from "../../plot/draw.js";
import { Figure } from "../../plot/figure.js";

/** All forms of a figure or of plot data; undefined for every other value. The PNG is left out on a machine without fonts. */
export async function plotBundle(value: unknown): Promise<Record<string, unknown> | undefined> {
  if (typeof value !== "object" || value === null) return undefined;
  const isData = "plot" in value && typeof value.plot === "string";
  const figure = isData ? draw(value as PlotData) : value;
  if (figure instanceof Figure) return { ...(await figure.mimeBundle()), ...(await pngOf(figure)) };
  return isData ? draw(value as PlotData).mimeBundle() : undefined;
}

async function pngOf(figure: Figure): Promise<Record<string, unknown>> {
  try {
    return { "image/png": Buffer.from(await figure.png(1)).toString("base64") };
  } catch (error) {
    if (error instanceof MoescopeError && error.code === "NOT_FOUND") return {};
    throw error;
  }
}
