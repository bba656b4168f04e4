/** A trace: the load of its experts as a picture, or its text coloured by expert. */
import { invalidArgument } from "../../errors.js";
import { expertText } from "../../plot/expert-text.js";
import type { ExpertLoad } from "../../router/expert-load.js";
import type { RouterTrace } from "../../router/trace.js";
import { plotBundle } from "./plot.js";
import type { ShowOptions } from "./show.js";

export async function traceBundle(trace: RouterTrace, options: ShowOptions = {}): Promise<Record<string, unknown>> {
  if (options.tokens !== undefined) return textBundle(trace, options.tokens, options);
  const { title } = options;
  const bundle = await loadBundle(trace.expertLoad(), title);
  const size = `${trace.numTokens.toLocaleString("en")} tokens in ${trace.layers.length} layers, ${trace.topK} experts each`;
  return { ...bundle, "text/plain": `Trace of ${size}. ${bundle["text/plain"]}` };
}

export async function loadBundle(load: ExpertLoad, title: string | undefined): Promise<Record<string, unknown>> {
  return (await plotBundle(load.heatmap(title)))!;
}

/** Tokens of a text that are coloured unless `rows` says otherwise: each is an element of the page. */
const MOST_TOKENS = 500;

async function textBundle(
  trace: RouterTrace,
  tokens: readonly string[],
  { layer = trace.layers[0]!, title, from = 0, rows = MOST_TOKENS }: ShowOptions,
): Promise<Record<string, unknown>> {
  const { numTokens, topK: k } = trace;
  if (tokens.length !== numTokens)
    throw invalidArgument("tokens", `the texts of the trace's ${numTokens} tokens`, tokens.length);
  const at = trace.layers.indexOf(layer);
  if (at < 0) throw invalidArgument("layer", `one of the traced layers ${trace.layers.join(", ")}`, layer);
  const shown = tokens.slice(from, from + rows);
  const rowOf = (token: number) => ((from + token) * trace.layers.length + at) * k;
  const experts = shown.map((_, token) => trace.columns.topkExperts.subarray(rowOf(token), rowOf(token) + k));
  const bundle = await expertText({ tokens: shown, layer, experts, title }).mimeBundle();
  const words = shown.map((token, i) => `${token}[${experts[i]![0]}]`).join("");
  const note = noteOf(from, shown.length, numTokens);
  const lines = [bundle["text/plain"], words, ...(note === "" ? [] : [note])];
  return {
    ...bundle,
    ...("text/html" in bundle && note !== "" && { "text/html": `${bundle["text/html"]}<small>${note}</small>` }),
    "text/plain": lines.join("\n"),
  };
}

function noteOf(from: number, numShown: number, numTokens: number): string {
  if (numShown === numTokens) return "";
  const end = from + numShown;
  const more = end < numTokens ? ` (from: ${end} shows the next)` : "";
  return `tokens ${from} to ${Math.max(from, end - 1)} of ${numTokens.toLocaleString("en")}${more}`;
}
