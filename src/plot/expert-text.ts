import { invalidArgument } from "../errors.js";
import { HtmlFigure } from "./figure.js";
import { KIND_COLORS } from "./theme.js";
import { checkSize } from "./values.js";

export interface ExpertTextData {
  /** The tokens' texts, in order. */
  tokens: readonly string[];
  layer: number;
  /** The chosen experts of each token, best first. [tokens.length][k] */
  experts: readonly ArrayLike<number>[];
  /** Their weights, where known. [tokens.length][k] */
  weights?: readonly ArrayLike<number>[];
  title?: string;
}

/**
 * A text whose tokens are coloured by their first-choice expert in one layer. The most frequent experts get colours, and every token
 * carries the number of its expert, so that the text also reads without colour. Hovering shows all k experts.
 */
export function expertText({ tokens, layer, experts, weights, title }: ExpertTextData): HtmlFigure {
  checkSize("experts", experts, "tokens", tokens.length);
  if (weights !== undefined) checkSize("weights", weights, "tokens", tokens.length);
  const first = experts.map((chosen, token) => {
    if (chosen.length > 0) return chosen[0]!;
    throw invalidArgument(`experts of token ${token}`, "at least one expert", "none");
  });
  const uses = new Map<number, number>();
  for (const expert of first) uses.set(expert, (uses.get(expert) ?? 0) + 1);
  const byUse = [...uses].sort(([a, usesA], [b, usesB]) => usesB - usesA || a - b);
  const colored = byUse.slice(0, KIND_COLORS.length).map(([expert]) => expert);
  const colorOf = (expert: number): string => KIND_COLORS[colored.indexOf(expert)] ?? "#8a8a8a";

  const spans = tokens.map((token, index) => {
    const chosen = Array.from(experts[index]!, (expert, slot) => {
      const weight = weights?.[index]?.[slot];
      return weight === undefined ? `${expert}` : `${expert} (${weight.toFixed(2)})`;
    });
    const color = colorOf(first[index]!);
    const block = `display:inline-block;vertical-align:top;white-space:pre;margin:0 2px 6px 0;background:${color}22`;
    const text = `<span style="border-bottom:3px solid ${color}">${escapeHtml(token).replaceAll("\n", "⏎")}</span>`;
    // Below the token, so that it is not read as a digit of it.
    const number = `<span style="display:block;text-align:center;font-size:65%;color:#444">${first[index]}</span>`;
    const breaks = "<br>".repeat(token.split("\n").length - 1);
    return `<span style="${block}" title="experts ${chosen.join(", ")}">${text}${number}</span>${breaks}`;
  });
  const legend = byUse.slice(0, KIND_COLORS.length).map(([expert, count]) => {
    const box = `display:inline-block;width:0.8em;height:0.8em;background:${colorOf(expert)};margin-right:0.3em`;
    return `<span style="margin-right:1.2em;white-space:nowrap"><span style="${box}"></span>expert ${expert}: ${count}</span> `;
  });
  const rest = byUse.slice(KIND_COLORS.length).reduce((sum, [, count]) => sum + count, 0);
  if (rest > 0) legend.push(`<span>grey, other experts: ${rest}</span>`);
  const heading = escapeHtml(title ?? `First-choice expert of each token, layer ${layer}`);
  return new HtmlFigure(
    `${tokens.length} tokens coloured by their first-choice expert in layer ${layer}.`,
    `<div style="font-family:'DejaVu Sans',Verdana,sans-serif;color:#222;background:#fff;padding:8px;max-width:60em">` +
      `<div style="font-weight:bold;margin-bottom:0.4em">${heading}</div>` +
      `<div style="font-size:85%;margin-bottom:0.6em">${legend.join("")}</div>` +
      `<div style="line-height:1.4">${spans.join("")}</div></div>`,
  );
}

function escapeHtml(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (sign) => names[sign]!);
}
