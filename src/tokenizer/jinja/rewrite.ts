import type { TemplateToken } from "./lexer.js";

/**
 * Writes the tokens of a tag so that the parser of `@huggingface/jinja` builds jinja2's tree from them. Forms that it
 * lacks become calls, whose names the interpreter knows and no template has by accident:
 *
 *     x is [not] name arguments   ->  x | __is_name(arguments)      (tests bind exactly as tightly as filters)
 *     (a,)  ()  a, b              ->  __tuple(a)  __tuple()  __tuple(a, b)
 *     (a == b)                    ->  __group(a == b)               (so that a < b < c can be told from (a < b) < c)
 *     {% filter f | g %}          ->  {% call __filter(__body | f | g) %}
 *     {% with a = 1 %}            ->  {% call __with(a = 1) %}      (a block is such a scope, too)
 */

const NOT_AN_OPERAND: ReadonlySet<string> = new Set([
  "and",
  "or",
  "not",
  "if",
  "else",
  "elif",
  "in",
  "is",
  "recursive",
]);
const COMPARISONS: ReadonlySet<string> = new Set(["==", "!=", "<", ">", "<=", ">=", "in"]);
const OPENERS = "([{";
const CLOSERS = ")]}";

export function rewriteExpression(tokens: readonly TemplateToken[]): string {
  return asTuple(tokens);
}

/** The inside of a block tag; empty for the tags that only mark what a trainer would learn from. */
export function rewriteStatement(tokens: readonly TemplateToken[]): string {
  const keyword = tokens[0]?.value;
  const rest = tokens.slice(1);
  switch (keyword) {
    case "generation":
    case "endgeneration":
      return "";
    case "with":
      return `call __with(${write(rest)})`;
    case "block":
      return "call __with()";
    case "filter":
      return `call __filter(__body | ${write(rest)})`;
    case "endwith":
    case "endblock":
    case "endfilter":
      return "endcall";
    case "for": {
      if (rest.at(-1)?.value === "recursive") throw new SyntaxError("Recursive loops are not supported");
      const into = rest.findIndex((token) => token.kind === "name" && token.value === "in");
      const isGroup = rest[0]?.value === "(" && closing(rest, 0) === into - 1;
      const target = isGroup ? rest.slice(1, into - 1) : rest.slice(0, into);
      return `for ${write(target)} in ${asTuple(rest.slice(into + 1))}`;
    }
    case "call":
      // In `call(user) macro()` the first parentheses hold parameters.
      return `call ${write(rest, true)}`;
    default:
      // A name may follow: {% endmacro name %}.
      if (keyword?.startsWith("end")) return keyword;
      return tokens[0] === undefined ? "" : `${keyword} ${write(rest)}`;
  }
}

/** An expression that may be a tuple without parentheses. */
function asTuple(tokens: readonly TemplateToken[]): string {
  return topLevel(tokens).some((token) => token.value === "," && token.kind === "operator")
    ? `__tuple(${write(tokens)})`
    : write(tokens);
}

/** A string literal that the parser's lexer reads as exactly `text`, and in which its preprocessor finds nothing to change. */
export function quoteString(text: string): string {
  const escaped = text.replace(/[\\"{}%#\n\r-]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `"${escaped}"`;
}

/** Tokens as source. `afterOperand`: whether what stands before them is a value, so that "(" would call it. */
function write(tokens: readonly TemplateToken[], afterOperand: boolean = false): string {
  const out: string[] = [];
  let operandBefore = afterOperand;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token.kind === "name" && token.value === "is") {
      const test = readTest(tokens, i);
      out.push(test.text);
      i = test.end - 1;
      operandBefore = true;
    } else if (token.kind === "operator" && token.value === "(" && !operandBefore) {
      const end = closing(tokens, i);
      out.push(writeGroup(tokens.slice(i + 1, end)));
      i = end;
      operandBefore = true;
    } else {
      out.push(token.kind === "string" ? quoteString(token.value) : token.value);
      operandBefore = isOperandEnd(token);
    }
  }
  return out.join(" ");
}

function writeGroup(inner: readonly TemplateToken[]): string {
  const commas = topLevel(inner).filter((token) => token.kind === "operator" && token.value === ",").length;
  if (inner.length === 0) return "__tuple ( )";
  const trailing = inner.at(-1)!.kind === "operator" && inner.at(-1)!.value === ",";
  if (commas > 0) return `__tuple ( ${write(trailing ? inner.slice(0, -1) : inner)} )`;
  const compares = topLevel(inner).some((token) => token.kind !== "string" && COMPARISONS.has(token.value));
  return `${compares ? "__group " : ""}( ${write(inner)} )`;
}

/** `is [not] name [arguments]` at `start`: the filter call that stands for it, and the offset after it. */
function readTest(tokens: readonly TemplateToken[], start: number): { text: string; end: number } {
  let at = start + 1;
  const negated = tokens[at]?.kind === "name" && tokens[at]!.value === "not";
  if (negated) at++;
  const name = tokens[at++];
  if (name?.kind !== "name") throw new SyntaxError("Expected the name of a test after 'is'");
  let argumentsText = "";
  const next = tokens[at];
  if (next?.kind === "operator" && next.value === "(") {
    const end = closing(tokens, at);
    argumentsText = write(tokens.slice(at + 1, end));
    at = end + 1;
  } else if (next !== undefined && startsOperand(next)) {
    const end = operandEnd(tokens, at);
    argumentsText = write(tokens.slice(at, end));
    at = end;
  }
  return { text: `| ${negated ? "__isnot_" : "__is_"}${name.value}(${argumentsText})`, end: at };
}

function startsOperand(token: TemplateToken): boolean {
  if (token.kind === "operator") return token.value === "[" || token.value === "{";
  return token.kind !== "name" || !NOT_AN_OPERAND.has(token.value);
}

function isOperandEnd(token: TemplateToken): boolean {
  if (token.kind === "operator") return CLOSERS.includes(token.value);
  return token.kind !== "name" || !NOT_AN_OPERAND.has(token.value);
}

/** The offset after one value and its `.name`, `[...]` and `(...)`. */
function operandEnd(tokens: readonly TemplateToken[], start: number): number {
  let at =
    OPENERS.includes(tokens[start]!.value) && tokens[start]!.kind === "operator"
      ? closing(tokens, start) + 1
      : start + 1;
  for (;;) {
    const token = tokens[at];
    if (token?.kind !== "operator") return at;
    if (token.value === ".") at += 2;
    else if (token.value === "[" || token.value === "(") at = closing(tokens, at) + 1;
    else return at;
  }
}

/** The offset of the bracket that closes the one at `open`; the lexer has seen to it that there is one. */
function closing(tokens: readonly TemplateToken[], open: number): number {
  let depth = 0;
  for (let i = open; ; i++) {
    const token = tokens[i]!;
    if (token.kind !== "operator") continue;
    if (OPENERS.includes(token.value)) depth++;
    else if (CLOSERS.includes(token.value) && --depth === 0) return i;
  }
}

function topLevel(tokens: readonly TemplateToken[]): TemplateToken[] {
  let depth = 0;
  return tokens.filter((token) => {
    if (token.kind === "operator" && OPENERS.includes(token.value)) depth++;
    else if (token.kind === "operator" && CLOSERS.includes(token.value)) depth--;
    return depth === 0;
  });
}
