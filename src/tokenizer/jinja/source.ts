import { pythonRstrip } from "../encode-pair.js";
import { readTag, type TagKind } from "./lexer.js";
import { quoteString, rewriteExpression, rewriteStatement } from "./rewrite.js";

/**
 * Rewrites a template into the dialect that the parser of `@huggingface/jinja` reads as Python's jinja2 would, set up as
 * transformers does (trim_blocks, lstrip_blocks, loop controls, `generation` tags).
 *
 * Why: the parser's own lexer applies whitespace rules to the raw source by regular expression (inside string literals too,
 * and to `{-`), and does not know `{%+`, `+%}`, `{% raw %}`, floats with an exponent, Python's string escapes, one-element
 * tuples, and tests with arguments. Here text becomes a string literal, so that no whitespace rule can touch it again, and
 * tags are written out from their tokens.
 */
export function normaliseTemplate(template: string): string {
  const source = template.replace(/\r\n|\r/g, "\n").replace(/\n$/, "");
  const out: string[] = [];
  let position = 0;
  let lineStarts = true;
  while (position < source.length) {
    const open = source.slice(position).search(/\{[{%#]/);
    const start = open < 0 ? source.length : position + open;
    const data = source.slice(position, start);
    if (start === source.length) {
      out.push(literal(data));
      break;
    }
    const kind = source[start + 1] as TagKind;
    const sign = /[-+]/.test(source[start + 2] ?? "") ? source[start + 2]! : "";
    out.push(literal(stripBefore(data, kind, sign, lineStarts)));
    const from = start + 2 + sign.length;
    const { end, text } =
      kind === "#" ? skipComment(source, from) : (raw(source, from, kind) ?? tag(source, from, kind));
    out.push(text);
    lineStarts = source[end - 1] === "\n";
    position = end;
  }
  return out.join("");
}

/** `-` strips all space before a tag; without a sign, a block or comment that stands first on its line loses its indentation. */
function stripBefore(data: string, kind: TagKind, sign: string, lineStarts: boolean): string {
  if (sign === "-") return pythonRstrip(data);
  if (sign === "+" || kind === "{") return data;
  const line = data.lastIndexOf("\n") + 1;
  return (line > 0 || lineStarts) && pythonRstrip(data.slice(line)) === "" ? data.slice(0, line) : data;
}

function literal(text: string): string {
  return text === "" ? "" : `{{ ${quoteString(text)} }}`;
}

interface Consumed {
  /** Offset after the tag and the space that it swallows. */
  end: number;
  /** What to write in its place. */
  text: string;
}

function skipComment(source: string, from: number): Consumed {
  const close = /\+#\}|-#\}\s*|#\}\n?/g;
  close.lastIndex = from;
  const match = close.exec(source);
  if (match === null) throw new SyntaxError("Missing end of comment tag");
  return { end: match.index + match[0].length, text: "" };
}

function raw(source: string, from: number, kind: TagKind): Consumed | null {
  const open = /\s*raw\s*(?:-%\}\s*|%\})/y;
  open.lastIndex = from;
  if (kind !== "%" || !open.test(source)) return null;
  const close = /\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)/g;
  close.lastIndex = open.lastIndex;
  const match = close.exec(source);
  if (match === null) throw new SyntaxError("Missing end of raw directive");
  const body = source.slice(open.lastIndex, match.index);
  return { end: match.index + match[0].length, text: literal(stripBefore(body, "%", match[1]!, false)) };
}

function tag(source: string, from: number, kind: TagKind): Consumed {
  const { tokens, end } = readTag(source, from, kind);
  if (kind === "{") return { end, text: `{{ ${rewriteExpression(tokens)} }}` };
  const statement = rewriteStatement(tokens);
  return { end, text: statement === "" ? "" : `{% ${statement} %}` };
}
