/** The value of a cell's last expression, in every form that it has. */
import { inspect } from "node:util";

/** Characters of a value's text: Node cuts long lists and strings, but not objects with many fields. */
const MOST_CHARACTERS = 20_000;

/** A value as text, cut where it is long; the cut says how much is missing. */
export function plainText(value: unknown): string {
  const text = inspect(value, { depth: 3, maxArrayLength: 100, maxStringLength: 10_000, breakLength: 100 });
  if (text.length <= MOST_CHARACTERS) return text;
  const end = text.lastIndexOf("\n", MOST_CHARACTERS);
  const kept = text.slice(0, end > 0 ? end : MOST_CHARACTERS);
  const number = (characters: number): string => characters.toLocaleString("en");
  return `${kept}\n… ${number(text.length - kept.length)} of ${number(text.length)} characters are not shown`;
}

/** Representations by MIME type; `text/plain` is always among them. */
export async function bundleOf(value: unknown): Promise<Record<string, unknown>> {
  const own = typeof value === "object" && value !== null ? await ownBundle(value) : undefined;
  return { "text/plain": plainText(value), ...own };
}

async function ownBundle(value: object): Promise<Record<string, unknown> | undefined> {
  // The name that Deno's kernel gave it; other libraries know it.
  const display = (value as Record<symbol, unknown>)[Symbol.for("Jupyter.display")];
  if (typeof display === "function") return (await display.call(value)) as Record<string, unknown>;
  if (!("mimeBundle" in value || "plot" in value)) return undefined;
  const { mimeBundleOf } = await import("../plot/draw.js");
  return mimeBundleOf(value);
}
