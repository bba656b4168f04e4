import { invalidArgument } from "../errors.js";
import { Figure } from "./figure.js";
import { INK, KIND_COLORS, MISSING_COLOR } from "./theme.js";

/** Tokens whose margin lies in [from, to), and how many of them were routed otherwise by the other file. */
export interface MarginBin {
  from: number;
  to: number;
  tokens: number;
  flips: number;
}

export interface MarginHistogramData {
  bins: readonly MarginBin[];
  title?: string;
}

/** Margins z_(k) - z_(k+1) and which of them flipped: counts above, the share that flipped below. */
export function marginHistogram({ bins, title = "Margins and flipped routes" }: MarginHistogramData): Figure {
  const wrong = bins.find(({ from, to, tokens, flips }) => !(from < to && flips >= 0 && flips <= tokens));
  if (wrong !== undefined) throw invalidArgument("bins", "from < to and 0 <= flips <= tokens", JSON.stringify(wrong));
  const counts = bins.flatMap(({ from, to, tokens, flips }) => [
    { from, to, kind: "same experts", start: 0, end: tokens - flips },
    { from, to, kind: "other experts", start: tokens - flips, end: tokens },
  ]);
  const shares = bins
    .filter(({ tokens }) => tokens > 0)
    .map(({ from, to, tokens, flips }) => ({ middle: (from + to) / 2, share: flips / tokens }));
  const domain = [Math.min(...bins.map(({ from }) => from)), Math.max(...bins.map(({ to }) => to))];
  const scale = { domain, nice: false };
  const flipped = KIND_COLORS[1]!;
  return new Figure(`Histogram of router margins in ${bins.length} bins with the share of flipped routes.`, {
    title: { text: title, subtitle: "margin of the k-th expert over the next one, in logits" },
    spacing: 12,
    vconcat: [
      {
        width: 420,
        height: 150,
        data: { values: counts },
        mark: { type: "bar", stroke: INK, strokeWidth: 0.4 },
        encoding: {
          x: { field: "from", type: "quantitative", scale, axis: { title: null, labels: false, grid: false } },
          x2: { field: "to" },
          y: { field: "start", type: "quantitative", title: "tokens x layers" },
          y2: { field: "end" },
          color: {
            field: "kind",
            type: "nominal",
            scale: { domain: ["same experts", "other experts"], range: [MISSING_COLOR, flipped] },
            legend: { title: null, orient: "top-right" },
          },
        },
      },
      {
        width: 420,
        height: 80,
        data: { values: shares },
        mark: { type: "line", point: { filled: true, color: flipped }, color: flipped },
        encoding: {
          x: { field: "middle", type: "quantitative", scale, axis: { title: "margin", grid: false } },
          y: { field: "share", type: "quantitative", title: "flipped", axis: { format: "%" }, scale: { domainMin: 0 } },
        },
      },
    ],
  });
}
