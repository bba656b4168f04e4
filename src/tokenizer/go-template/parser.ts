/** Go template tokens as a tree. What is left out (define, template, block, method calls) is refused by name. */
import { type Token, tokenize, type Word } from "./lexer.js";

export type GoNode =
  | { type: "text"; text: string }
  | { type: "action"; pipe: Pipe }
  | { type: "if" | "with" | "range"; pipe: Pipe; body: GoNode[]; otherwise: GoNode[] }
  | { type: "break" | "continue" };

/** `$i, $m := command | command`. */
export interface Pipe {
  variables: string[];
  /** `=` in place of `:=`. */
  assigns: boolean;
  commands: Operand[][];
}

export type Operand =
  | { type: "literal"; value: string | number | boolean | null }
  | { type: "function"; name: string }
  /** Fields of a start: the dot, a variable, a parenthesis. */
  | { type: "path"; start: "dot" | { variable: string } | { pipe: Pipe }; fields: string[] };

const KEYWORDS = ["if", "with", "range", "else", "end", "break", "continue", "define", "template", "block"];
const LITERALS: Readonly<Record<string, boolean | null>> = { true: true, false: false, nil: null };

/** Throws SyntaxError where the text is no Go template, or uses what is not supported. */
export function parseGoTemplate(source: string): GoNode[] {
  const tokens = tokenize(source);
  const reader = { tokens, at: 0 };
  const [nodes, stop] = parseList(reader);
  if (stop !== undefined) throw new SyntaxError(`unexpected {{ ${stop.keyword} }}`);
  return nodes;
}

interface Reader {
  tokens: readonly Token[];
  at: number;
}

/** The `end` or `else` that closed a list, and what stood behind `else`. */
interface Stop {
  keyword: "end" | "else";
  rest: Word[];
}

function parseList(reader: Reader): [GoNode[], Stop | undefined] {
  const nodes: GoNode[] = [];
  while (reader.at < reader.tokens.length) {
    const token = reader.tokens[reader.at++]!;
    if (token.type === "text") {
      nodes.push(token);
      continue;
    }
    const [first, ...rest] = token.words;
    if (first?.type !== "name" || !KEYWORDS.includes(first.name)) {
      nodes.push({ type: "action", pipe: parsePipe(token.words) });
    } else if (first.name === "end" || first.name === "else") {
      return [nodes, { keyword: first.name, rest }];
    } else {
      nodes.push(parseStatement(first.name, rest, reader));
    }
  }
  return [nodes, undefined];
}

function parseStatement(keyword: string, rest: Word[], reader: Reader): GoNode {
  if (keyword === "break" || keyword === "continue") return { type: keyword };
  if (keyword !== "if" && keyword !== "with" && keyword !== "range") {
    throw new SyntaxError(`{{ ${keyword} }} is not supported`);
  }
  const pipe = parsePipe(rest);
  const [body, stop] = parseList(reader);
  if (stop === undefined) throw new SyntaxError(`{{ ${keyword} }} without {{ end }}`);
  if (stop.keyword === "end") return { type: keyword, pipe, body, otherwise: [] };
  const [next, ...words] = stop.rest;
  if (next !== undefined) {
    // {{ else if x }} shares the {{ end }} of the outer statement.
    if (next.type !== "name" || next.name !== keyword || keyword === "range") {
      throw new SyntaxError("unexpected words after {{ else");
    }
    return { type: keyword, pipe, body, otherwise: [parseStatement(keyword, words, reader)] };
  }
  const [otherwise, last] = parseList(reader);
  if (last?.keyword !== "end") throw new SyntaxError(`{{ ${keyword} }} without {{ end }}`);
  return { type: keyword, pipe, body, otherwise };
}

function parsePipe(words: readonly Word[]): Pipe {
  const sign = words.findIndex((word) => word.type === "mark" && (word.mark === ":=" || word.mark === "="));
  const variables: string[] = [];
  for (const [place, word] of words.slice(0, Math.max(sign, 0)).entries()) {
    if (place % 2 === 0 && word.type === "variable") variables.push(word.name);
    else if (place % 2 === 0 || word.type !== "mark" || word.mark !== ",")
      throw new SyntaxError("expected variables before :=");
  }
  if (sign === 0 || variables.length > 2) throw new SyntaxError("expected one or two variables before :=");
  const assigns = sign > 0 && (words[sign] as { mark: string }).mark === "=";
  const commands = parseCommands(words.slice(sign + 1));
  return { variables, assigns, commands };
}

function parseCommands(words: readonly Word[]): Operand[][] {
  const commands: Operand[][] = [[]];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const command = commands.at(-1)!;
    if (word.type === "mark" && word.mark === "|") {
      commands.push([]);
    } else if (word.type === "mark" && word.mark === "(") {
      const close = closingParenthesis(words, at);
      command.push({ type: "path", start: { pipe: parsePipe(words.slice(at + 1, close)) }, fields: [] });
      at = close;
    } else if (word.type === "mark") {
      throw new SyntaxError(`unexpected ${word.mark}`);
    } else if (word.type === "field" && word.touches) {
      addField(command.at(-1), word.name);
    } else {
      command.push(operand(word));
    }
  }
  if (commands.some((command) => command.length === 0)) throw new SyntaxError("an action without a value");
  return commands;
}

function closingParenthesis(words: readonly Word[], open: number): number {
  let depth = 0;
  for (let at = open; at < words.length; at++) {
    const word = words[at]!;
    if (word.type !== "mark") continue;
    if (word.mark === "(") depth++;
    if (word.mark === ")" && --depth === 0) return at;
  }
  throw new SyntaxError("unclosed parenthesis");
}

function addField(to: Operand | undefined, name: string): void {
  if (to?.type !== "path" || name === "") throw new SyntaxError(`unexpected .${name}`);
  to.fields.push(name);
}

function operand(word: Exclude<Word, { type: "mark" }>): Operand {
  switch (word.type) {
    case "string":
    case "number":
      return { type: "literal", value: word.value };
    case "field":
      return { type: "path", start: "dot", fields: word.name === "" ? [] : [word.name] };
    case "variable":
      return { type: "path", start: { variable: word.name }, fields: [] };
    case "name":
      return Object.hasOwn(LITERALS, word.name)
        ? { type: "literal", value: LITERALS[word.name]! }
        : { type: "function", name: word.name };
  }
}
