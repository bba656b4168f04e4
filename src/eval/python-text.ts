import { PYTHON_WHITESPACE, pythonRstrip } from "../tokenizer/encode-pair.js";

/**
 * Python's text functions where JavaScript's differ: benchmarks are defined by Python programs, and a score hangs on which
 * characters are white space, which are digits, and where `$` matches.
 */

/** Python's `str.strip()`. */
export function pythonStrip(text: string): string {
  let start = 0;
  while (start < text.length && PYTHON_WHITESPACE.includes(text[start]!)) start++;
  return pythonRstrip(text.slice(start));
}

const WHITESPACE_CLASS: string = [...PYTHON_WHITESPACE]
  .map((char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
  .join("");

/** Escapes that mean another set of characters in Python than in JavaScript: [inside a class, outside of one]. */
const SETS: Readonly<Record<string, readonly [string, string]>> = {
  s: [WHITESPACE_CLASS, `[${WHITESPACE_CLASS}]`],
  S: ["", `[^${WHITESPACE_CLASS}]`],
  d: ["\\p{Nd}", "\\p{Nd}"],
  D: ["\\P{Nd}", "\\P{Nd}"],
};

const SYNTAX = "^$\\.*+?()[]{}|/";
const KEPT_ESCAPES = "nrtfvbB123456789";

/**
 * Compiles a Python `re` pattern (of `str`, without inline flags) with Python's meaning: `$` also matches before a final newline,
 * `.` stops only at a newline, `\s` and `\d` are Unicode's, and a backslash before any punctuation is that character.
 *
 * @param flags JavaScript flags; "s" is Python's DOTALL, "i" IGNORECASE. "u" is always added.
 */
export function pythonRegex(pattern: string, flags: string = ""): RegExp {
  let source = "";
  let inClass = false;
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i]!;
    if (char === "\\") {
      source += translateEscape(pattern[++i] ?? "", inClass, pattern);
    } else if (inClass) {
      if (char === "]") inClass = false;
      source += char === "[" ? "\\[" : char;
    } else if (char === "[") {
      inClass = true;
      source += char;
    } else if (char === "$") {
      source += "(?=\\n?(?![^]))";
    } else if (char === "." && !flags.includes("s")) {
      source += "[^\\n]";
    } else {
      source += char;
    }
  }
  return new RegExp(source, flags.includes("u") ? flags : `${flags}u`);
}

function translateEscape(char: string, inClass: boolean, pattern: string): string {
  const set = SETS[char];
  if (set !== undefined) {
    if (inClass && set[0] === "") throw new Error(`\\${char} inside a character class is not translated: ${pattern}`);
    return set[inClass ? 0 : 1];
  }
  if (KEPT_ESCAPES.includes(char) || SYNTAX.includes(char)) return `\\${char}`;
  if (char === "-" && inClass) return "\\-";
  if (/[a-z0]/i.test(char)) throw new Error(`The escape \\${char} is not translated: ${pattern}`);
  return char;
}

/** Python's `re.findall` for patterns with groups as lists: every match with its groups ("" where a group took no part). */
export function findAll(regex: RegExp, text: string): string[][] {
  const global = new RegExp(regex.source, `${regex.flags}g`);
  return [...text.matchAll(global)].map((match) => match.map((group) => group ?? ""));
}

/** Python's `float(text)` for plain decimal text (digits of any script, a sign, a point, an exponent); NaN where Python raises. */
export function pythonFloat(text: string): number {
  const ascii = asciiDigits(pythonStrip(text));
  return /^[+-]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?$/.test(ascii)
    ? Number(ascii.replaceAll("_", ""))
    : Number.NaN;
}

/** Python's `int(text)`; NaN where Python raises. */
export function pythonInt(text: string): number {
  const ascii = asciiDigits(pythonStrip(text));
  return /^[+-]?\d+(_\d+)*$/.test(ascii) ? Number(ascii.replaceAll("_", "")) : Number.NaN;
}

/** Decimal digits of every script as 0-9: Unicode keeps them in unbroken runs of tens, each ten beginning with its zero. */
function asciiDigits(text: string): string {
  return text.replace(/\p{Nd}/gu, (digit) => {
    const point = digit.codePointAt(0)!;
    let start = point;
    while (/\p{Nd}/u.test(String.fromCodePoint(start - 1))) start--;
    return String((point - start) % 10);
  });
}
