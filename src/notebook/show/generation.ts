/** What a model wrote: the text as it reads, and how it came about in one line. */
import { escapeHtml } from "./html.js";
import type { ShowOptions } from "./show.js";

/** Characters of a text that are shown; the rest is counted. */
const MOST_TEXT = 20_000;
const MOST_SAMPLES = 20;

interface SampleLike {
  text: string;
  tokenIds: ArrayLike<number>;
  finishReason: string;
  timing: { promptMs: number; generateMs: number; tokensPerSecond: number };
}

/** What is read of a `Generation`; the notebook stands beside `model` and does not import it. */
interface GenerationLike extends SampleLike {
  samples: readonly SampleLike[];
  usage: { promptTokens: number; completionTokens: number };
}

export function isGenerationLike(value: unknown): value is GenerationLike {
  if (typeof value !== "object" || value === null) return false;
  return "samples" in value && "usage" in value && "finishReason" in value && "promptIds" in value;
}

export function generationBundle(generation: GenerationLike, { title }: ShowOptions = {}): Record<string, unknown> {
  const { samples, usage } = generation;
  const shown = samples.slice(0, MOST_SAMPLES);
  const texts = shown.map(({ text }) => cut(text));
  const notes = shown.map((sample, i) => noteOf(sample, samples.length === 1 ? undefined : i));
  const cutSamples = samples.length - shown.length;
  const total = `${usage.promptTokens} tokens read, ${usage.completionTokens} written`;
  const last = cutSamples > 0 ? `${total}; ${cutSamples} of ${samples.length} texts are not shown` : total;
  const head = title === undefined ? [] : [title];
  const style = "white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid #8888;padding-left:8px;margin:4px 0";
  return {
    "text/plain": [...head, ...texts.flatMap((text, i) => [text, `  ${notes[i]}`]), last].join("\n"),
    "text/html": [
      ...head.map((text) => `<b>${escapeHtml(text)}</b>`),
      ...texts.map((text, i) => `<pre style="${style}">${escapeHtml(text)}</pre><small>${notes[i]}</small>`),
      samples.length > 1 ? `<div><small>${last}</small></div>` : `<small> · ${last}</small>`,
    ].join("\n"),
  };
}

function noteOf({ tokenIds, finishReason, timing }: SampleLike, index: number | undefined): string {
  const speed = timing.tokensPerSecond > 0 ? `, ${timing.tokensPerSecond.toFixed(1)} tokens/s` : "";
  const name = index === undefined ? "" : `text ${index}: `;
  return `${name}${tokenIds.length} tokens, ended by ${finishReason}${speed}`;
}

function cut(text: string): string {
  if (text.length <= MOST_TEXT) return text;
  return `${text.slice(0, MOST_TEXT)}… (${text.length.toLocaleString("en")} characters)`;
}
