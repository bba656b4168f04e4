import { Figure } from "./figure.js";
import { KIND_COLORS } from "./theme.js";
import { checkSize, finite } from "./values.js";

export interface ConfidenceLineData {
  /** The tokens' texts. */
  tokens: readonly string[];
  layers: readonly number[];
  /** Routing entropy over ln N: 0 is sure, 1 uniform. [layers.length][tokens.length] */
  routingEntropy: readonly ArrayLike<number>[];
  title?: string;
}

/** Tokens up to which their texts stand below the axis. */
const MOST_LABELS = 48;

/** Router confidence along a text: the mean over layers as a line, the range of the layers as a band. */
export function confidenceLine(data: ConfidenceLineData): Figure {
  const { tokens, layers, routingEntropy, title = "Router entropy along the text" } = data;
  checkSize("routingEntropy", routingEntropy, "layers", layers.length);
  for (const [index, layer] of layers.entries()) {
    checkSize(`routingEntropy of layer ${layer}`, routingEntropy[index]!, "tokens", tokens.length);
  }
  const values = tokens.map((token, position) => {
    const ofLayers = routingEntropy.map((row) => row[position]!);
    return {
      position,
      token: printable(token),
      mean: finite(ofLayers.reduce((sum, value) => sum + value, 0) / layers.length),
      least: finite(Math.min(...ofLayers)),
      most: finite(Math.max(...ofLayers)),
    };
  });
  const labelled = tokens.length <= MOST_LABELS;
  const labels = JSON.stringify(values.map(({ token }) => token));
  const x = {
    field: "position",
    type: "quantitative" as const,
    scale: { nice: false, domain: [0, Math.max(1, tokens.length - 1)] },
    axis: {
      title: labelled ? null : "token",
      grid: false,
      ...(labelled && {
        values: [...tokens.keys()],
        labelExpr: `${labels}[datum.value]`,
        labelAngle: -60,
        labelAlign: "right" as const,
        labelOverlap: false,
      }),
    },
  };
  return new Figure(`Routing entropy of ${tokens.length} tokens over ${layers.length} layers, 1 is uniform.`, {
    title: {
      text: title,
      subtitle: `line: mean of ${layers.length} layers, band: from the surest to the least sure layer; 1 is uniform`,
    },
    data: { values },
    width: labelled ? Math.max(420, 15 * tokens.length) : 640,
    height: 180,
    layer: [
      {
        mark: { type: "area", opacity: 0.25, color: KIND_COLORS[0]! },
        encoding: {
          x,
          y: { field: "least", type: "quantitative", title: "routing entropy", scale: { domain: [0, 1] } },
          y2: { field: "most" },
        },
      },
      {
        mark: {
          type: "line",
          color: KIND_COLORS[0]!,
          point: labelled ? { filled: true, size: 22, color: KIND_COLORS[0]! } : false,
        },
        encoding: { x, y: { field: "mean", type: "quantitative" } },
      },
    ],
  });
}

/** A token's text on one short line: white space is shown by signs. */
function printable(token: string): string {
  const signs = token.replaceAll("\n", "⏎").replaceAll("\t", "→").replaceAll(" ", "␣");
  return signs.length > 12 ? `${signs.slice(0, 11)}…` : signs;
}
