/** A trace: the load of its experts as a picture, or its text coloured by expert. */
import { invalidArgument } from "../../errors.js";
import { expertText } from "../../plot/expert-text.js";
import type { RouterTrace } from "../../router/trace.js";
import { plotBundle } from "./plot.js";
import type { ShowOptions } from "./show.js";

export async function traceBundle(trace: RouterTrace, options: ShowOptions = {}): Promise<Record<string, unknown>> {
  const { tokens, layer = trace.layers[0], title } = options;
  if (tokens !== undefined) return textBundle(trace, tokens, layer!, title);
  const bundle = await plotBundle(trace.expertLoad().heatmap(title));
  const size = `${trace.numTokens.toLocaleString("en")} tokens in ${trace.layers.length} layers, ${trace.topK} experts each`;
  return { ...bundle, "text/plain": `Trace of ${size}. ${bundle!["text/plain"]}` };
}

async function textBundle(
  trace: RouterTrace,
  tokens: readonly string[],
  layer: number,
  title: string | undefined,
): Promise<Record<string, unknown>> {
  if (tokens.length !== trace.numTokens)
    throw invalidArgument("tokens", `the texts of the trace's ${trace.numTokens} tokens`, tokens.length);
  const at = trace.layers.indexOf(layer);
  if (at < 0) throw invalidArgument("layer", `one of the traced layers ${trace.layers.join(", ")}`, layer);
  const k = trace.topK;
  const rowOf = (token: number) => (token * trace.layers.length + at) * k;
  const experts = tokens.map((_, token) => trace.columns.topkExperts.subarray(rowOf(token), rowOf(token) + k));
  const figure = expertText({ tokens, layer, experts, title });
  const words = tokens.map((token, i) => `${token}[${experts[i]![0]}]`).join("");
  const bundle = await figure.mimeBundle();
  return { ...bundle, "text/plain": `${bundle["text/plain"]}\n${words}` };
}
