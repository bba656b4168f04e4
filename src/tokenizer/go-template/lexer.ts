/** Go template text as tokens: runs of text, and the words of each `{{ action }}`. Syntax: Go `text/template`. */

export type Token =
  | { type: "text"; text: string }
  /** The words of one action, without its delimiters. */
  | { type: "action"; words: Word[] };

export type Word =
  | { type: "string"; value: string }
  | { type: "number"; value: number }
  /** `.Name`; a lone `.` has an empty name. `touches`: no space before it, so that it goes on from what stands there. */
  | { type: "field"; name: string; touches: boolean }
  | { type: "variable"; name: string }
  | { type: "name"; name: string }
  | { type: "mark"; mark: string };

const SPACE = " \t\r\n";
const COMMENT = /^\/\*[\s\S]*?\*\/$/;
/** One word at the start; the order matters. */
const WORDS: readonly [RegExp, (match: string, touches: boolean) => Word][] = [
  [/^"(?:[^"\\\n]|\\.)*"/, (match) => ({ type: "string", value: unquote(match) })],
  [/^`[^`]*`/, (match) => ({ type: "string", value: match.slice(1, -1) })],
  [/^[+-]?\d+(?:\.\d+)?(?![\w.])/, (match) => ({ type: "number", value: Number(match) })],
  [/^\.[\p{L}_][\p{L}\p{Nd}_]*/u, (match, touches) => ({ type: "field", name: match.slice(1), touches })],
  [/^\.(?![\p{L}\p{Nd}_.])/u, (_match, touches) => ({ type: "field", name: "", touches })],
  [/^\$[\p{L}\p{Nd}_]*/u, (match) => ({ type: "variable", name: match })],
  [/^[\p{L}_][\p{L}\p{Nd}_]*/u, (match) => ({ type: "name", name: match })],
  [/^(?::=|[=|(),])/, (match) => ({ type: "mark", mark: match })],
];

/** Throws SyntaxError where the text is no Go template. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trimNext = false;
  for (;;) {
    const open = source.indexOf("{{", at);
    let text = source.slice(at, open === -1 ? source.length : open);
    if (trimNext) text = trimStart(text);
    const trimsBefore = open !== -1 && source[open + 2] === "-" && SPACE.includes(source[open + 3] ?? "x");
    if (trimsBefore) text = trimEnd(text);
    if (text !== "") tokens.push({ type: "text", text });
    if (open === -1) return tokens;
    const start = open + (trimsBefore ? 3 : 2);
    const end = closingPlace(source, start);
    const inside = source.slice(start, end);
    trimNext = /[ \t\r\n]-$/.test(inside);
    const action = (trimNext ? inside.slice(0, -1) : inside).trim();
    if (!COMMENT.test(action)) tokens.push({ type: "action", words: words(action) });
    at = end + 2;
  }
}

/** Where the `}}` of an action stands; braces in its strings and comment do not count. */
function closingPlace(source: string, start: number): number {
  const skipped = /"(?:[^"\\\n]|\\.)*"|`[^`]*`|\/\*[\s\S]*?\*\/|\}\}/g;
  skipped.lastIndex = start;
  for (let match = skipped.exec(source); match !== null; match = skipped.exec(source)) {
    if (match[0] === "}}") return match.index;
  }
  throw new SyntaxError("unclosed action");
}

function words(action: string): Word[] {
  const found: Word[] = [];
  let rest = action;
  let touches = false;
  while (rest !== "") {
    const trimmed = trimStart(rest);
    touches &&= trimmed.length === rest.length;
    rest = trimmed;
    const [match, make] = firstMatch(rest);
    found.push(make(match, touches));
    rest = rest.slice(match.length);
    touches = true;
  }
  return found;
}

function firstMatch(rest: string): [string, (match: string, touches: boolean) => Word] {
  for (const [pattern, make] of WORDS) {
    const match = pattern.exec(rest)?.[0];
    if (match !== undefined) return [match, make];
  }
  throw new SyntaxError(`unexpected ${JSON.stringify(rest.slice(0, 20))} in an action`);
}

/** Go's escapes; those that JSON lacks are \a, \v, \x and octals, of which templates use none: they are refused. */
function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted.replaceAll("\t", "\\t")) as string;
  } catch {
    throw new SyntaxError(`the string ${quoted} is not understood`);
  }
}

function trimStart(text: string): string {
  return text.replace(/^[ \t\r\n]+/, "");
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && SPACE.includes(text[end - 1]!)) end--;
  return text.slice(0, end);
}
