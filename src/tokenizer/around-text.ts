import { CheckpointError } from "../errors.js";
import { type Component, flatten, type TokenizerJson, without } from "./tokenizer-json.js";

/** What a tokenizer.json puts before and after text: a prefix space, BOS and EOS. */

/** Where a SentencePiece vocabulary puts a space before text: nowhere, before each stretch of text between special tokens, or before the first. */
export function prefixRule(json: TokenizerJson): "none" | "every fragment" | "first fragment" {
  if (flatten(json.normalizer).some((part) => part.type === "Prepend")) return "every fragment";
  const metaspace = flatten(json.pre_tokenizer).find((part) => part.type === "Metaspace");
  if (metaspace === undefined || metaspace.prepend_scheme === "never") return "none";
  return metaspace.prepend_scheme === "first" ? "first fragment" : "every fragment";
}

/** The same tokenizer, putting no space before text. */
export function withoutPrefix(json: TokenizerJson): TokenizerJson {
  const never = (part: Component | null): Component | null => {
    if (part === null) return null;
    if (part.type === "Metaspace") return { ...part, prepend_scheme: "never" };
    if (!Array.isArray(part.pretokenizers)) return part;
    return { ...part, pretokenizers: part.pretokenizers.map(never) };
  };
  return {
    ...json,
    normalizer: without(json.normalizer, (part) => part.type === "Prepend"),
    pre_tokenizer: never(json.pre_tokenizer),
  };
}

/** The ids that a post-processor puts before and after a single text. */
export function surroundingIds(processor: Component | null, source: string): { prefix: number[]; suffix: number[] } {
  const prefix: number[] = [];
  const suffix: number[] = [];
  for (const part of flatten(processor)) {
    if (part.type === "ByteLevel") continue;
    if (part.type !== "TemplateProcessing" || !Array.isArray(part.single)) {
      throw new CheckpointError(
        "UNSUPPORTED",
        `Expected a TemplateProcessing post-processor in ${source}, got ${part.type}.`,
      );
    }
    const tokens = (part.special_tokens ?? {}) as Record<string, { ids?: number[] }>;
    let target = prefix;
    for (const item of part.single as { SpecialToken?: { id: string }; Sequence?: unknown }[]) {
      if (item.SpecialToken === undefined) target = suffix;
      else target.push(...(tokens[item.SpecialToken.id]?.ids ?? []));
    }
  }
  return { prefix, suffix };
}

/** `add_bos_token` and `add_eos_token`, where stated, win over the post-processor, as in transformers. */
export function withToken(ids: readonly number[], id: number | null, wanted: boolean | undefined): readonly number[] {
  if (id === null || wanted === undefined || wanted === ids.includes(id)) return ids;
  return wanted ? [id] : ids.filter((other) => other !== id);
}
