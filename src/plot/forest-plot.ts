import { invalidArgument } from "../errors.js";
import { Figure } from "./figure.js";
import { INK, KIND_COLORS, MUTED } from "./theme.js";

/** One effect with its interval. */
export interface ForestRow {
  /** "layer 3, expert 5". */
  label: string;
  effect: number;
  lower: number;
  upper: number;
  /** Controls (random experts of the same frequency) are drawn hollow and grey. */
  control?: boolean;
}

export interface ForestData {
  rows: readonly ForestRow[];
  /** What the effect is, with its unit: "change in accuracy, points". */
  effect: string;
  title?: string;
}

/** Ablation effects with intervals, in the given order; the line at 0 is no effect. */
export function forestPlot({ rows, effect, title = "What happens without the expert" }: ForestData): Figure {
  const wrong = rows.find(({ effect, lower, upper }) => !(lower <= effect && effect <= upper));
  if (wrong !== undefined) throw invalidArgument("rows", "lower <= effect <= upper", JSON.stringify(wrong));
  const kinds = ["ablated expert", "control"];
  const values = rows.map(({ control = false, ...row }) => ({ ...row, kind: kinds[control ? 1 : 0] }));
  const y = {
    field: "label",
    type: "nominal",
    sort: rows.map(({ label }) => label),
    axis: { title: null, grid: true, ticks: false, labelLimit: 300 },
  } as const;
  const color = {
    field: "kind",
    type: "nominal",
    scale: { domain: kinds, range: [KIND_COLORS[0]!, MUTED] },
    legend: rows.some(({ control }) => control) ? { title: null } : null,
  } as const;
  const shape = { field: "kind", type: "nominal", scale: { domain: kinds, range: ["circle", "diamond"] } } as const;
  const fill = {
    field: "kind",
    type: "nominal",
    scale: { domain: kinds, range: [KIND_COLORS[0]!, "#ffffff"] },
  } as const;
  return new Figure(`Forest plot of ${rows.length} effects: ${effect}.`, {
    title: { text: title, subtitle: "estimate and interval; an interval across the line is compatible with no effect" },
    data: { values },
    width: 380,
    height: { step: 20 },
    layer: [
      { mark: { type: "rule", color: INK, strokeDash: [4, 3] }, encoding: { x: { datum: 0, type: "quantitative" } } },
      {
        mark: { type: "rule", strokeWidth: 1.6 },
        encoding: {
          x: { field: "lower", type: "quantitative", title: effect, scale: { zero: true } },
          x2: { field: "upper" },
          y,
          color,
        },
      },
      {
        mark: { type: "point", size: 55, strokeWidth: 1.6, opacity: 1 },
        encoding: { x: { field: "effect", type: "quantitative" }, y, color, shape, fill },
      },
    ],
  });
}
