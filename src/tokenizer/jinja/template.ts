import { parse, tokenize } from "@huggingface/jinja";
import { assign } from "./assign.js";
import type { CallStatementNode, ForNode, Node } from "./ast.js";
import { evaluate, readArguments } from "./expressions.js";
import { globalFunctions } from "./globals.js";
import { loopObject } from "./loop-object.js";
import { macro } from "./macro.js";
import { str } from "./print.js";
import { Scope } from "./scope.js";
import { normaliseTemplate } from "./source.js";
import { Text } from "./text.js";
import {
  type Callable,
  fromJavaScript,
  isEqual,
  isTrue,
  iterate,
  JinjaError,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

/**
 * A Jinja template with the meaning that Python's jinja2 gives it as transformers sets it up: trim_blocks, lstrip_blocks, loop
 * controls, a sandbox that changes no data, `raise_exception`, `tojson` without HTML escaping.
 *
 * `@huggingface/jinja` parses it (from the form that source.ts writes). Its own interpreter is not used: it prints true, null
 * and lists as JavaScript does, counts strings in UTF-16 code units, passes over undefined values and type errors that Python
 * refuses, lacks many filters, tests and methods, and cannot say which characters of the result the template wrote.
 *
 * Differences that remain: `~` binds like `+` and not tighter; ints are exact up to 2^53; `safe` changes nothing (in jinja2 what is
 * joined to a safe text is HTML-escaped); methods print as `<function>`; no `recursive` loops, inheritance, imports, includes or
 * `urlize`-like filters (each refused by name).
 */
export class JinjaTemplate {
  private readonly program: Node[];

  /** Throws SyntaxError where the template cannot be parsed. */
  constructor(source: string) {
    try {
      const program = parse(tokenize(normaliseTemplate(source))) as unknown as { body: Node[] };
      this.program = program.body;
    } catch (cause) {
      // At the end of a template that lacks a closing tag the parser runs off its token list (a TypeError).
      const message = cause instanceof TypeError ? "unexpected end of template" : (cause as Error).message;
      throw new SyntaxError(message, { cause });
    }
  }

  /**
   * Renders with `variables`, whose strings count as data, and `trusted`, whose strings count as the template's own (BOS and
   * EOS text). Throws JinjaError.
   */
  render(variables: Record<string, unknown>, trusted: Record<string, string> = {}): Text {
    const names = globalFunctions();
    for (const [name, value] of Object.entries(variables))
      if (value !== undefined) names.set(name, fromJavaScript(value));
    for (const [name, text] of Object.entries(trusted)) names.set(name, Text.of(text));
    return block(this.program, new Scope(null, names));
  }
}

/** Thrown by `{% break %}` and `{% continue %}` up to the loop around them; carries what the body had written before. */
class LoopControl extends Error {
  readonly kind: "Break" | "Continue";
  written: Text = Text.EMPTY;
  constructor(kind: "Break" | "Continue") {
    super(`'${kind.toLowerCase()}' outside loop`);
    this.kind = kind;
  }
}

function block(body: readonly Node[], scope: Scope): Text {
  const parts: Text[] = [];
  for (const node of body) {
    try {
      parts.push(statement(node, scope));
    } catch (error) {
      if (error instanceof LoopControl) error.written = Text.concat([...parts, error.written]);
      throw error;
    }
  }
  return Text.concat(parts);
}

function statement(node: Node, scope: Scope): Text {
  switch (node.type) {
    case "Comment":
      return Text.EMPTY;
    case "If":
      return block(isTrue(evaluate(node.test, scope)) ? node.body : node.alternate, scope);
    case "For":
      return loop(node, scope);
    case "Set": {
      const value = node.value === null ? block(node.body, new Scope(scope)) : evaluate(node.value, scope);
      assign(node.assignee, value, scope);
      return Text.EMPTY;
    }
    case "Macro":
      scope.set(node.name.value, macro(node.name.value, node.args, node.body, scope, block));
      return Text.EMPTY;
    case "CallStatement":
      return callBlock(node, scope);
    case "Break":
    case "Continue":
      throw new LoopControl(node.type);
    default:
      return str(evaluate(node, scope));
  }
}

function loop(node: ForNode, scope: Scope): Text {
  const { iterable } = node;
  let items = iterate(evaluate(iterable.type === "SelectExpression" ? iterable.lhs : iterable, scope));
  if (iterable.type === "SelectExpression") {
    items = items.filter((item) => {
      scope.countStep();
      const inner = new Scope(scope);
      assign(node.loopvar, item, inner);
      return isTrue(evaluate(iterable.test, inner));
    });
  }
  const parts: Text[] = [];
  let completed = false;
  let lastChanged: Value[] | null = null;
  const changed: Callable = (args) => {
    const same = lastChanged !== null && isEqual(lastChanged, args);
    lastChanged = args;
    return !same;
  };
  for (let index = 0; index < items.length; index++) {
    scope.countStep();
    const inner = new Scope(scope, new Map([["loop", loopObject(items, index, changed)]]));
    assign(node.loopvar, items[index]!, inner);
    try {
      parts.push(block(node.body, inner));
      completed = true;
    } catch (error) {
      if (!(error instanceof LoopControl)) throw error;
      parts.push(error.written);
      if (error.kind === "Break") break;
    }
  }
  // As in jinja2, `else` also runs where no iteration came to the end of the body.
  if (!completed) parts.push(block(node.defaultBlock, new Scope(scope)));
  return Text.concat(parts);
}

function callBlock(node: CallStatementNode, scope: Scope): Text {
  const { callee } = node.call;
  // These two are written as calls: see rewrite.ts.
  if (callee.type === "Identifier" && callee.value === "__filter") {
    const body = block(node.body, new Scope(scope));
    return str(evaluate(node.call.args[0]!, new Scope(scope, new Map([["__body", body]]))));
  }
  const { args, kwargs } = readArguments(node.call.args, scope);
  if (callee.type === "Identifier" && callee.value === "__with") return block(node.body, new Scope(scope, kwargs));
  const called = evaluate(callee, scope);
  if (called instanceof Undefined) called.raise();
  if (typeof called !== "function") throw new JinjaError("TypeError", `'${typeName(called)}' object is not callable`);
  kwargs.set("caller", macro("None", node.callerArgs ?? [], node.body, scope, block));
  return str(called(args, kwargs));
}
