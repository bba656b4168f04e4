/**
 * Go `text/template`, as far as ollama's chat templates use it: actions, if, with, range, variables, pipelines, comments, trim
 * marks and the functions of functions.ts. Every character of the result knows whether the template or its data wrote it.
 */
import { Text } from "../jinja/text.js";
import { ARGUMENTS, FUNCTIONS } from "./functions.js";
import { type GoNode, type Operand, type Pipe, parseGoTemplate } from "./parser.js";
import { GoObject, type GoValue, isTrue, print } from "./values.js";

/** Turns of loops in one rendering: far above any chat. A template comes with a file that nobody has checked. */
const MAX_STEPS = 1_000_000;

export class GoTemplate {
  readonly nodes: readonly GoNode[];

  /** Throws SyntaxError for what is no Go template or needs what is not supported. */
  constructor(source: string | readonly GoNode[]) {
    this.nodes = typeof source === "string" ? parseGoTemplate(source) : source;
  }

  /** Whether any action reads a field of this name, whatever it is a field of. */
  mentions(field: string): boolean {
    return mentions(this.nodes, field);
  }

  /** Renders with `data` as the dot. Throws an Error that says what the template asked in vain. */
  execute(data: GoValue): Text {
    const run = { steps: 0 };
    return new Frame(data, new Map([["$", { value: data }]]), run).list(this.nodes);
  }
}

class LoopEnd extends Error {
  readonly kind: "break" | "continue";
  written: Text = Text.EMPTY;
  constructor(kind: "break" | "continue") {
    super(`{{ ${kind} }} outside {{ range }}`);
    this.kind = kind;
  }
}

type Variables = ReadonlyMap<string, { value: GoValue }>;

/** One dot and the variables that are seen from here. */
class Frame {
  private readonly dot: GoValue;
  private readonly variables: Map<string, { value: GoValue }>;
  private readonly run: { steps: number };

  constructor(dot: GoValue, variables: Variables, run: { steps: number }) {
    this.dot = dot;
    this.variables = new Map(variables);
    this.run = run;
  }

  list(nodes: readonly GoNode[]): Text {
    const parts: Text[] = [];
    for (const node of nodes) {
      try {
        parts.push(this.node(node));
      } catch (error) {
        if (error instanceof LoopEnd) error.written = Text.concat([...parts, error.written]);
        throw error;
      }
    }
    return Text.concat(parts);
  }

  private node(node: GoNode): Text {
    switch (node.type) {
      case "text":
        return Text.of(node.text);
      case "action": {
        const value = this.pipe(node.pipe);
        return node.pipe.variables.length > 0 ? Text.EMPTY : print(value);
      }
      case "range":
        return this.range(node.pipe, node.body, node.otherwise);
      case "break":
      case "continue":
        throw new LoopEnd(node.type);
      default: {
        // Variables of the condition are seen inside only.
        const inner = new Frame(this.dot, this.variables, this.run);
        const value = inner.pipe(node.pipe);
        if (!isTrue(value)) return new Frame(this.dot, inner.variables, this.run).list(node.otherwise);
        return new Frame(node.type === "with" ? value : this.dot, inner.variables, this.run).list(node.body);
      }
    }
  }

  private range(pipe: Pipe, body: readonly GoNode[], otherwise: readonly GoNode[]): Text {
    const items = entries(this.commands(pipe));
    if (items.length === 0) return new Frame(this.dot, this.variables, this.run).list(otherwise);
    const parts: Text[] = [];
    const [first, second] = pipe.variables;
    for (const [key, value] of items) {
      if (++this.run.steps > MAX_STEPS) throw new Error(`the template takes more than ${MAX_STEPS} steps`);
      const inner = new Frame(value, this.variables, this.run);
      if (second !== undefined) inner.set(first!, key, pipe.assigns);
      if (first !== undefined) inner.set(second ?? first, value, pipe.assigns);
      try {
        parts.push(inner.list(body));
      } catch (error) {
        if (!(error instanceof LoopEnd)) throw error;
        parts.push(error.written);
        if (error.kind === "break") break;
      }
    }
    return Text.concat(parts);
  }

  /** The value of a pipeline; its variable, if it has one, is set. */
  private pipe(pipe: Pipe): GoValue {
    const value = this.commands(pipe);
    if (pipe.variables.length > 1) throw new SyntaxError("two variables are for {{ range }} only");
    if (pipe.variables.length === 1) this.set(pipe.variables[0]!, value, pipe.assigns);
    return value;
  }

  private commands({ commands }: Pipe): GoValue {
    let last: GoValue | undefined;
    for (const command of commands) last = this.command(command, last);
    return last!;
  }

  /** Sets a new variable of this frame, or one that is there already, wherever it was made. */
  private set(name: string, value: GoValue, assigns: boolean): void {
    const known = this.variables.get(name);
    if (!assigns) this.variables.set(name, { value });
    else if (known === undefined) throw new Error(`undefined variable ${name}`);
    else known.value = value;
  }

  /** A function with its arguments, the value of the command before as the last one; or a lone operand. */
  private command(operands: readonly Operand[], piped: GoValue | undefined): GoValue {
    const [first, ...rest] = operands;
    if (first!.type === "literal" && first!.value === null) throw new TypeError("nil is not a command");
    if (first!.type !== "function") {
      if (rest.length > 0 || piped !== undefined) throw new TypeError("can't give arguments to what is no function");
      return this.operand(first!);
    }
    const { name } = first!;
    if (name === "and" || name === "or") return this.shortCircuit(name, rest, piped);
    const args = rest.map((operand) => this.operand(operand));
    if (piped !== undefined) args.push(piped);
    return callFunction(name, args);
  }

  private shortCircuit(name: "and" | "or", operands: readonly Operand[], piped: GoValue | undefined): GoValue {
    const reads = operands.map((operand) => () => this.operand(operand));
    if (piped !== undefined) reads.push(() => piped);
    if (reads.length === 0) throw new TypeError(`${name} without arguments`);
    let value: GoValue = null;
    for (const read of reads) {
      value = read();
      if (isTrue(value) === (name === "or")) break;
    }
    return value;
  }

  private operand(operand: Operand): GoValue {
    if (operand.type === "literal") return typeof operand.value === "string" ? Text.of(operand.value) : operand.value;
    if (operand.type === "function") return callFunction(operand.name, []);
    const { start, fields } = operand;
    return fields.reduce(readField, this.start(start));
  }

  private start(start: Extract<Operand, { type: "path" }>["start"]): GoValue {
    if (start === "dot") return this.dot;
    if ("pipe" in start) return this.pipe(start.pipe);
    const known = this.variables.get(start.variable);
    if (known === undefined) throw new Error(`undefined variable ${start.variable}`);
    return known.value;
  }
}

function callFunction(name: string, args: readonly GoValue[]): GoValue {
  if (!Object.hasOwn(FUNCTIONS, name)) throw new Error(`function ${name} is not known`);
  if (args.length < ARGUMENTS[name]!) throw new TypeError(`${name} with ${args.length} arguments`);
  return FUNCTIONS[name]!(...args);
}

/** A map that lacks the key has no value there; a struct without the field is an error, as in Go. */
function readField(from: GoValue, name: string): GoValue {
  if (from === null) return null;
  if (!(from instanceof GoObject)) throw new TypeError(`can't read the field ${name} of a plain value`);
  const value = from.fields.get(name);
  if (value === undefined && !from.isMap) throw new TypeError(`can't read the field ${name} of a ${from.kind}`);
  return value ?? null;
}

/** What `range` goes over: a list by its indices, a map by its sorted keys, the whole numbers below a number. */
function entries(value: GoValue): (readonly [GoValue, GoValue])[] {
  if (value === null) return [];
  if (typeof value === "number" && Number.isInteger(value)) {
    return Array.from({ length: Math.min(value, MAX_STEPS + 1) }, (_, index) => [index, index] as const);
  }
  if (Array.isArray(value)) return (value as readonly GoValue[]).map((item, index) => [index, item] as const);
  if (value instanceof GoObject && value.isMap) {
    return [...value.fields].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [Text.fromData(key), item]);
  }
  throw new TypeError("range over what has no items");
}

function mentions(tree: unknown, field: string): boolean {
  if (Array.isArray(tree)) return tree.some((part) => mentions(part, field));
  if (typeof tree !== "object" || tree === null) return false;
  const { fields } = tree as { fields?: unknown };
  return (Array.isArray(fields) && fields.includes(field)) || Object.values(tree).some((part) => mentions(part, field));
}
