import { Text } from "./text.js";

/**
 * The values of a template, with Python's meaning: None is null, int a number, bool a boolean, list an array; what JavaScript
 * lacks is here. A dict keeps its order; keys are equal where Python's are (1 == 1.0 == True).
 */

export type Value =
  | null
  | boolean
  | number
  | Float
  | Text
  | Value[]
  | Tuple
  | View
  | Generator
  | Dict
  | Namespace
  | Undefined
  | Callable;

/** A function that a template can call. */
export type Callable = (args: Value[], kwargs: Map<string, Value>) => Value;

/** Python's exception of that name, raised while a template runs. */
export class JinjaError extends Error {
  readonly kind: string;
  constructor(
    kind: "TemplateError" | "UndefinedError" | "TypeError" | "ValueError" | "SecurityError",
    message: string,
  ) {
    super(message);
    this.kind = kind;
  }
}

export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** A lazy sequence that prints under its own name: dict_keys, dict_items, range. */
export class View {
  readonly items: readonly Value[];
  readonly print: (items: Text) => Text;
  constructor(items: readonly Value[], print: (items: Text) => Text) {
    this.items = items;
    this.print = print;
  }
}

/** What Python's lazy filters give: it can be walked once, and has neither length nor elements. */
export class Generator {
  private rest: readonly Value[];
  constructor(items: readonly Value[]) {
    this.rest = items;
  }
  take(): readonly Value[] {
    const items = this.rest;
    this.rest = [];
    return items;
  }
}

/** A name or attribute that is not there: prints as nothing, and raises `message` where it is used as a value. */
export class Undefined {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
  raise(): never {
    throw new JinjaError("UndefinedError", this.message);
  }
}

/** `namespace(...)`: the one value whose attributes a template may set. */
export class Namespace {
  readonly fields: Map<string, Value>;
  constructor(fields: Map<string, Value>) {
    this.fields = fields;
  }
}

export class Dict {
  private readonly entries = new Map<string, [Value, Value]>();

  static fromEntries(entries: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict();
    for (const [key, value] of entries) dict.set(key, value);
    return dict;
  }

  get size(): number {
    return this.entries.size;
  }
  get(key: Value): Value | undefined {
    return this.entries.get(hashOf(key))?.[1];
  }
  getByName(name: string): Value | undefined {
    return this.entries.get(`s${name}`)?.[1];
  }
  has(key: Value): boolean {
    return this.entries.has(hashOf(key));
  }
  set(key: Value, value: Value): void {
    const hash = hashOf(key);
    const known = this.entries.get(hash);
    if (known) known[1] = value;
    else this.entries.set(hash, [key, value]);
  }
  keys(): Value[] {
    return [...this.entries.values()].map(([key]) => key);
  }
  values(): Value[] {
    return [...this.entries.values()].map(([, value]) => value);
  }
  items(): [Value, Value][] {
    return [...this.entries.values()].map(([key, value]) => [key, value]);
  }
}

/** `value` unless it is not there. Not `??`: that would pass over None. */
export function orElse(value: Value | undefined, other: () => Value): Value {
  return value === undefined ? other() : value;
}

/** Equal for equal keys, different for different ones. Throws TypeError for what Python cannot hash. */
export function hashOf(value: Value): string {
  if (value === null) return "none";
  if (value instanceof Text) return `s${value.value}`;
  const number = asNumber(value);
  if (number !== undefined) return `n${number}`;
  if (value instanceof Tuple) return `t${JSON.stringify(value.items.map(hashOf))}`;
  throw new JinjaError("TypeError", `unhashable type: '${typeName(value)}'`);
}

/** The number that an int, float or bool is; undefined for everything else. */
export function asNumber(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof Float ? value.value : undefined;
}

export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (value instanceof Float) return "float";
  if (value instanceof Text) return "str";
  if (Array.isArray(value)) return "list";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof Namespace) return "Namespace";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Generator) return "generator";
  return value instanceof View ? "view" : "function";
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  const number = asNumber(value);
  if (number !== undefined) return number !== 0;
  if (value instanceof Text) return value.length > 0;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Tuple || value instanceof View) return value.items.length > 0;
  return value instanceof Dict ? value.size > 0 : true;
}

/** What a for loop would walk over, or undefined where Python would say "not iterable". */
export function itemsOf(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value;
  if (value instanceof Tuple || value instanceof View) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof Text) return value.points();
  if (value instanceof Generator) return value.take();
  return value instanceof Undefined ? [] : undefined;
}

/** As itemsOf; throws TypeError where the value is not iterable. */
export function iterate(value: Value): readonly Value[] {
  const items = itemsOf(value);
  if (items === undefined) throw new JinjaError("TypeError", `'${typeName(value)}' object is not iterable`);
  return items;
}

export function isEqual(a: Value, b: Value): boolean {
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (a instanceof Text || b instanceof Text) return a instanceof Text && b instanceof Text && a.value === b.value;
  if (Array.isArray(a) && Array.isArray(b)) return isEqualList(a, b);
  if (a instanceof Tuple && b instanceof Tuple) return isEqualList(a.items, b.items);
  if (a instanceof View && b instanceof View) return isEqualList(a.items, b.items);
  if (a instanceof Undefined && b instanceof Undefined) return true;
  if (a instanceof Dict && b instanceof Dict) {
    return a.size === b.size && a.items().every(([key, value]) => b.has(key) && isEqual(value, b.get(key)!));
  }
  return a === b;
}

function isEqualList(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((item, index) => isEqual(item, b[index]!));
}

/** Negative, 0 or positive as a is below, equal to or above b. `operator` names the comparison in the TypeError. */
export function compare(a: Value, b: Value, operator: string): number {
  if (a instanceof Undefined) a.raise();
  if (b instanceof Undefined) b.raise();
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return x - y;
  if (a instanceof Text && b instanceof Text) return comparePoints(a.value, b.value);
  const lists =
    Array.isArray(a) && Array.isArray(b)
      ? [a, b]
      : a instanceof Tuple && b instanceof Tuple
        ? [a.items, b.items]
        : null;
  if (lists === null) {
    throw new JinjaError(
      "TypeError",
      `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
    );
  }
  const [left, right] = lists as [readonly Value[], readonly Value[]];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (!isEqual(left[i]!, right[i]!)) return compare(left[i]!, right[i]!, operator);
  }
  return left.length - right.length;
}

/** Order by code points, which UTF-16 order is not. */
function comparePoints(a: string, b: string): number {
  if (a === b) return 0;
  const [x, y] = [[...a], [...b]];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}

/** JavaScript data as template values; its strings are marked as data. */
export function fromJavaScript(value: unknown): Value {
  if (value === null || typeof value === "boolean") return value;
  if (value === undefined) return new Undefined("a value is undefined");
  if (typeof value === "number") return Number.isInteger(value) ? value : new Float(value);
  if (typeof value === "string") return Text.fromData(value);
  if (Array.isArray(value)) return value.map(fromJavaScript);
  if (typeof value === "object") {
    const entries = Object.entries(value).filter(([, field]) => field !== undefined);
    return Dict.fromEntries(entries.map(([key, field]) => [Text.fromData(key), fromJavaScript(field)] as const));
  }
  throw new JinjaError("TypeError", `a ${typeof value} cannot be given to a template`);
}
