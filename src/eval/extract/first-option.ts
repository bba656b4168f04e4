import { pythonRegex } from "../python-text.js";

/**
 * OpenCompass's `first_option_postprocess` (Apache-2.0, commit 26d077b): the option letter in a free-form answer to a multiple-choice
 * question. Its quirks are part of the protocol: the patterns are tried in this order, and of the *matched text* the first option in
 * alphabetical order wins, so the article "A" counts as an answer.
 */

// "@" stands for the character class of the options. The entry that begins with 故选 holds two patterns run together: the original
// lacks a comma there, and so neither of the two ever matches alone.
const PATTERNS: readonly string[] = [
  "答案是?\\s*(@)",
  "答案是?\\s*：\\s*(@)",
  "答案是?\\s*:\\s*(@)",
  "答案应该?是\\s*(@)",
  "答案应该?选\\s*(@)",
  "答案为\\s*(@)",
  "答案选\\s*(@)",
  "选择?\\s*(@)",
  "故选?\\s*(@)只有选?项?\\s?(@)\\s?是?对",
  "只有选?项?\\s?(@)\\s?是?错",
  "只有选?项?\\s?(@)\\s?不?正确",
  "只有选?项?\\s?(@)\\s?错误",
  "说法不?对选?项?的?是\\s?(@)",
  "说法不?正确选?项?的?是\\s?(@)",
  "说法错误选?项?的?是\\s?(@)",
  "(@)\\s?是正确的",
  "(@)\\s?是正确答案",
  "选项\\s?(@)\\s?正确",
  "所以答\\s?(@)",
  "所以\\s?(@[.。$]?$)",
  "所有\\s?(@[.。$]?$)",
  "[\\s，：:,](@)[。，,\\.]?$",
  "[\\s，,：:][故即](@)[。\\.]?$",
  "[\\s，,：:]因此(@)[。\\.]?$",
  "[是为。]\\s?(@)[。\\.]?$",
  "因此\\s?(@)[。\\.]?$",
  "显然\\s?(@)[。\\.]?$",
  "答案是\\s?(\\S+)(?:。|$)",
  "答案应该是\\s?(\\S+)(?:。|$)",
  "答案为\\s?(\\S+)(?:。|$)",
  "[Tt]he answer is:?\\s+\\(?(@)\\)?",
  "[Tt]he answer is option:?\\s+\\(?(@)\\)?",
  "[Tt]he correct answer is:?\\s+\\(?(@)\\)?",
  "[Tt]he correct answer is option:?\\s+\\(?(@)\\)?",
  "[Tt]he answer to the question is:?\\s+\\(?(@)\\)?",
  "^选项\\s?(@)",
  "^(@)\\s?选?项",
  "(\\s|^)@[\\s。，,：:\\.$]",
  "(\\s|^)@(\\s|$)",
  "1.\\s?(.*?)$",
  "1.\\s?(@)[.。$]?$",
  "(@):",
  "@",
];

const compiled: Map<string, RegExp[]> = new Map();

/** The option that the answer names, or null. `options` is the letters in order, for example "ABCD". */
export function firstOption(text: string, options: string): string | null {
  let patterns = compiled.get(options);
  if (patterns === undefined) {
    patterns = PATTERNS.map((pattern) => pythonRegex(pattern.replaceAll("@", `[${options}]`), "s"));
    compiled.set(options, patterns);
  }
  for (const pattern of patterns) {
    const matched = pattern.exec(text)?.[0];
    const option = matched === undefined ? undefined : [...options].find((letter) => matched.includes(letter));
    if (option !== undefined) return option;
  }
  return null;
}
