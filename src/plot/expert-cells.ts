/** What the heat maps over experts have in common: their cells, and the grid of how much each expert is used. */

import type { TopLevelSpec } from "vega-lite";
import { AMOUNT_RANGE, INK, MISSING_COLOR } from "./theme.js";
import { cellSize, sparseLabels } from "./values.js";

export const CELL = { type: "rect", stroke: "#cfcfcf", strokeWidth: 0.4 } as const;

type LayeredSpec = Pick<Extract<TopLevelSpec, { layer: unknown }>, "width" | "height" | "layer">;

export interface UseGrid {
  numExperts: number;
  /** Of the data, with the fields `expert` and `value`; null where nothing is known. */
  values: readonly { value: number | null }[];
  /** The field of the rows, the title of their axis, their order if it is not the natural one, and which of them get a label. */
  rows: { field: string; title: string | null; sort?: string[]; labels?: number[] };
  rowHeight: number;
  legend: { title: string; gradientLength: number };
}

/** With more even shares than this at its top, a linear scale would lose the differences about 1. */
const MOST_LINEAR = 4;

/** Use of each expert, times the even share: dark is busy, a dot marks 0, grey is unknown. The scale goes to 2 at least. */
export function useGrid({ numExperts, values, rows, rowHeight, legend }: UseGrid): LayeredSpec {
  const size = cellSize(numExperts);
  const most = Math.max(2, ...values.map(({ value }) => value ?? 0));
  const isWide = most > MOST_LINEAR;
  const axis = { title: "expert", values: sparseLabels(numExperts), labelAngle: 0 };
  const x = { field: "expert", type: "ordinal", axis } as const;
  const { field, title, sort, labels } = rows;
  const y = {
    field,
    type: "ordinal",
    axis: { title, ...(labels && { values: labels }) },
    ...(sort && { sort }),
  } as const;
  return {
    width: { step: size },
    height: { step: rowHeight },
    layer: [
      {
        mark: CELL,
        encoding: {
          x,
          y,
          color: {
            condition: { test: "datum.value === null", value: MISSING_COLOR },
            field: "value",
            type: "quantitative",
            scale: { range: AMOUNT_RANGE, domain: [0, most], type: isWide ? "sqrt" : "linear" },
            legend: { ...legend, ...(isWide && { values: [0, 1, MOST_LINEAR, Math.floor(most)] }) },
          },
        },
      },
      {
        transform: [{ filter: "datum.value === 0" }],
        mark: { type: "circle", size: size * 1.2, color: INK, opacity: 1 },
        encoding: { x, y },
      },
    ],
  };
}
