/** Tokens inside `{{ ... }}` and `{% ... %}`, by the rules of jinja2's lexer. */

export interface TemplateToken {
  kind: "name" | "number" | "string" | "operator";
  /** A string's value with its escapes read; a number in plain decimal notation; else the text itself. */
  value: string;
}

/** The character after the opening brace: a variable, a block, a comment. */
export type TagKind = "{" | "%" | "#";

const END: Readonly<Record<"{" | "%", RegExp>> = { "{": /-\}\}\s*|\}\}/y, "%": /\+%\}|-%\}\s*|%\}\n?/y };
const SPACE = /\s+/y;
const NUMBER =
  /0[xX](?:_?[\da-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|\d+(?:_\d+)*(?:\.\d+(?:_\d+)*)?(?:[eE][+-]?\d+(?:_\d+)*)?/y;
const INTEGER = /\d+/y;
const NAME = /[\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}_]+/uy;
const STRING = /'([^'\\]*(?:\\[\s\S][^'\\]*)*)'|"([^"\\]*(?:\\[\s\S][^"\\]*)*)"/y;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,]/y;
const CLOSER: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** Reads the tokens of a tag whose inside starts at `from`. `end` is the offset after the tag and what its end swallows. */
export function readTag(
  source: string,
  from: number,
  kind: "{" | "%" | TagKind,
): { tokens: TemplateToken[]; end: number } {
  const endPattern = END[kind as "{" | "%"];
  const tokens: TemplateToken[] = [];
  const open: string[] = [];
  let position = from;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(source);
    if (match !== null) position = pattern.lastIndex;
    return match;
  };
  while (position < source.length) {
    // Braces of a dict close before the tag does.
    if (open.length === 0 && take(endPattern)) return { tokens, end: position };
    if (take(SPACE)) continue;
    // After a dot there are only whole numbers: `items.0.1` is two steps.
    const number = take(tokens.at(-1)?.value === "." ? INTEGER : NUMBER);
    if (number) {
      tokens.push({ kind: "number", value: plainNumber(number[0]) });
      continue;
    }
    const string = take(STRING);
    if (string) {
      tokens.push({ kind: "string", value: readEscapes(string[1] ?? string[2]!) });
      continue;
    }
    const name = take(NAME);
    if (name) {
      tokens.push({ kind: "name", value: name[0] });
      continue;
    }
    const operator = take(OPERATOR)?.[0];
    if (operator === undefined)
      throw new SyntaxError(`unexpected char ${JSON.stringify(source[position])} at ${position}`);
    if (operator in CLOSER) open.push(CLOSER[operator]!);
    else if (/[)\]}]/.test(operator) && open.pop() !== operator) throw new SyntaxError(`unexpected '${operator}'`);
    tokens.push({ kind: "operator", value: operator });
  }
  throw new SyntaxError("unexpected end of template");
}

function plainNumber(text: string): string {
  const digits = text.replaceAll("_", "");
  if (/^0[xXoObB]/.test(digits)) return BigInt(digits.toLowerCase()).toString();
  if (!/[.eE]/.test(digits)) return digits;
  const value = Number(digits);
  if (Number.isInteger(value)) return `${BigInt(value)}.0`;
  const plain = String(value);
  return plain.includes("e") ? value.toFixed(100).replace(/0+$/, "") : plain;
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Python's escapes; a backslash before anything else stays. */
function readEscapes(body: string): string {
  return body.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (
      all,
      x: string | undefined,
      u: string | undefined,
      long: string | undefined,
      octal: string | undefined,
      char: string,
    ) => {
      const hex = x ?? u ?? long;
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      if (char === "x" || char === "u" || char === "U") throw new SyntaxError(`truncated escape \\${char}`);
      return SIMPLE_ESCAPES[char] ?? all;
    },
  );
}
