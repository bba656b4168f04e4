import { findAll, pythonFloat, pythonInt, pythonRegex } from "../python-text.js";

/** The last number of a worked answer, as the authors of Qwen and as OpenCompass read it, each with its own comparison. */

const QWEN_NUMBER: RegExp = pythonRegex(
  "([+-])?(?=([0-9]|\\.[0-9]))(0|([1-9](\\d{0,2}(,\\d{3})*)|\\d*))?(\\.\\d*)?(?=\\D|$)",
);
const OPEN_COMPASS_NUMBER: RegExp = pythonRegex("\\-?\\d+\\.\\d+|\\-?\\d+");

/** Qwen `eval/evaluate_chat_gsm8k.py` (commit 2df8e8a), `extract_answer`: the last number, without commas and plus sign. */
export function lastNumberOfQwen(text: string): string | null {
  const last = findAll(QWEN_NUMBER, text).at(-1);
  return last === undefined ? null : last[0]!.replaceAll(",", "").replaceAll("+", "");
}

/** Qwen's comparison: both are evaluated as Python number literals and may differ by 1e-4; "072" is no literal and never equal. */
export function equalForQwen(answer: string | null, target: string): boolean {
  const a = answer === null ? Number.NaN : pythonLiteral(answer);
  const b = pythonLiteral(target);
  return Number.isFinite(a) && Number.isFinite(b) && Math.abs(a - b) <= 1e-4;
}

/** OpenCompass `gsm8k_postprocess` (commit 26d077b): the last number before a further "Question:"; commas split numbers. */
export function lastNumberOfOpenCompass(text: string): string | null {
  const last = findAll(OPEN_COMPASS_NUMBER, text.split("Question:")[0]!).at(-1);
  return last === undefined ? null : last[0]!;
}

/** OpenCompass's comparison: equal strings, or a number within 1e-6 of an integer target. */
export function equalForOpenCompass(answer: string | null, target: string): boolean {
  if (answer === null) return false;
  return answer === target || Math.abs(pythonFloat(answer) - pythonInt(target)) < 1e-6;
}

/** The value of a signed Python number literal; NaN where Python has a syntax error, as for a leading zero in an integer. */
function pythonLiteral(text: string): number {
  const isLiteral = /^-?(0+|[1-9][0-9]*|[0-9]+\.[0-9]*|\.[0-9]+)$/.test(text);
  return isLiteral ? Number(text) : Number.NaN;
}
