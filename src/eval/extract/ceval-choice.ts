import { pythonRegex, pythonStrip } from "../python-text.js";
import { bestMatch } from "./fuzzy-match.js";

/**
 * The option that a free answer to a C-Eval question names, as `extract_answer` of Qwen's `eval/evaluate_chat_ceval.py` (QwenLM/Qwen
 * 2df8e8a) reads it. Its faults are part of the protocol: "答案不是A，而是C。" gives A, and an answer without any letter is a guess.
 */

export interface CevalQuestion {
  question: string;
  /** The texts of A to D. */
  choices: readonly string[];
}

export interface CevalChoice {
  letter: string;
  /** Whether no letter was found and the letter is that of the most similar option. */
  isGuess: boolean;
}

const LETTERS = ["A", "B", "C", "D"] as const;

// In this order; the first that matches decides. The last finds any letter that stands alone.
const PATTERNS: readonly RegExp[] = [
  "(?:(?:选|选择|选定)|(?:(?:答案|选项)(?![^ABCD]{0,10}?(?:不|非)[^ABCD]{0,10}?(?:是|为|：|:|】))[^ABCD]{0,10}?(?:是|为|：|:|】))[^ABCD]{0,10}?)(A|B|C|D)(?:选项)?(?:\\)|。|\\.|，|,|．|、|A|B|C|D|$)",
  "(A|B|C|D)(?:选?项)?(?![^ABCD]{0,4}?(?:不|非)[^ABCD]{0,4}?(?:正确|对|符合))[^ABCD]{0,4}?(?:正确|对|符合)",
  "^(A|B|C|D)(?:。|\\.|，|,|．|$)",
  "(?<![a-zA-Z])(A|B|C|D)(?![a-zA-Z=])",
].map((pattern) => pythonRegex(pattern));

/** The option of an answer; there is always one. */
export function cevalChoice(answer: string, row: CevalQuestion): CevalChoice {
  const text = withLetters(answer, row);
  for (const pattern of PATTERNS) {
    const letter = pattern.exec(text)?.[1];
    if (letter !== undefined) return { letter, isGuess: false };
  }
  // Of options with the same text the first is meant.
  const match = bestMatch(text, row.choices);
  return { letter: LETTERS[row.choices.indexOf(row.choices[match]!)]!, isGuess: true };
}

/** The answer with the question's words taken out and every option's text, longest first, replaced by its letter. */
function withLetters(answer: string, { question, choices }: CevalQuestion): string {
  const blanks = withoutFinalStops(question).split("。").at(-1)!.split("_");
  const [before, after] = [blanks[0]!, blanks.at(-1)!];
  let text = answer;
  if (length(pythonStrip(before)) > 4) text = replaceAll(text, before, "答案是");
  if (length(pythonStrip(after)) > 4) text = replaceAll(text, after, "");
  const byLength = choices.map((choice, i) => ({ choice, letter: LETTERS[i]! }));
  byLength.sort((x, y) => length(y.choice) - length(x.choice));
  for (const { choice, letter } of byLength) text = replaceAll(text, withoutFinalStops(choice), letter);
  return text;
}

function withoutFinalStops(text: string): string {
  return text.replace(/。+$/u, "");
}

/** In code points, as Python counts. */
function length(text: string): number {
  return [...text].length;
}

/** Python's `str.replace`: an empty `part` stands between all characters. */
function replaceAll(text: string, part: string, by: string): string {
  return part === "" ? by + [...text].map((char) => char + by).join("") : text.split(part).join(by);
}
