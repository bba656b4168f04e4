/** The functions of Go templates, and `json`, which ollama adds. `and` and `or` stand in evaluate.ts: they do not read all arguments. */
import { Text } from "../jinja/text.js";
import { GoObject, type GoValue, isTrue, print, toJson } from "./values.js";

export type GoFunction = (...args: GoValue[]) => GoValue;

function plain(value: GoValue): string | number | boolean {
  if (value instanceof Text) return value.value;
  if (typeof value === "number" || typeof value === "boolean") return value;
  throw new TypeError("incompatible types for comparison");
}

function isEqual(a: GoValue, b: GoValue): boolean {
  if (a === null || b === null) return a === b;
  const [left, right] = [plain(a), plain(b)];
  if (typeof left !== typeof right) throw new TypeError("incompatible types for comparison");
  return left === right;
}

function compare(order: (a: string | number, b: string | number) => boolean): GoFunction {
  return (a, b) => {
    const [left, right] = [plain(a!), plain(b!)];
    if (typeof left === "boolean" || typeof left !== typeof right) {
      throw new TypeError("incompatible types for comparison");
    }
    return order(left, right as typeof left);
  };
}

function length(value: GoValue): number {
  if (value instanceof Text) return Buffer.byteLength(value.value);
  if (Array.isArray(value)) return value.length;
  if (value instanceof GoObject && value.isMap) return value.fields.size;
  throw new TypeError("len of what has no length");
}

function index(value: GoValue, ...keys: GoValue[]): GoValue {
  return keys.reduce((from, key) => {
    if (Array.isArray(from) && typeof key === "number") {
      if (Number.isInteger(key) && key >= 0 && key < from.length) return from[key] as GoValue;
      throw new RangeError(`index out of range: ${key}`);
    }
    if (from instanceof GoObject && from.isMap && key instanceof Text) return from.fields.get(key.value) ?? null;
    throw new TypeError("index of what has no items");
  }, value);
}

function slice(value: GoValue, from: GoValue = 0, to: GoValue = length(value)): GoValue {
  if (typeof from !== "number" || typeof to !== "number" || from < 0 || to < from || to > length(value)) {
    throw new RangeError("slice index out of range");
  }
  if (Array.isArray(value)) return value.slice(from, to);
  if (!(value instanceof Text)) throw new TypeError("slice of what has no items");
  // Go counts bytes; a cut inside a character has no spelling here.
  const bytes = Buffer.from(value.value);
  const [before, inside] = [bytes.subarray(0, from).toString(), bytes.subarray(from, to).toString()];
  return value.slice(before.length, before.length + inside.length);
}

function printf(format: GoValue, ...args: GoValue[]): Text {
  if (!(format instanceof Text)) throw new TypeError("printf without a format");
  let next = 0;
  const parts = format.value.split(/(%.)/).map((part) => {
    if (!/^%.$/.test(part)) return Text.of(part);
    if (part === "%%") return Text.of("%");
    const value = args[next++];
    if (value === undefined) throw new TypeError(`printf without a value for ${part}`);
    if (part === "%q") return Text.fromData(JSON.stringify(print(value).value));
    if (!["%s", "%v", "%d"].includes(part)) throw new TypeError(`printf's ${part} is not supported`);
    return print(value);
  });
  return Text.concat(parts);
}

/** As Go's Sprint: a space between two values of which neither is a string. */
function sprint(...args: GoValue[]): Text {
  return Text.concat(
    args.flatMap((value, place) => {
      const spaced = place > 0 && !(value instanceof Text) && !(args[place - 1] instanceof Text);
      return spaced ? [Text.of(" "), print(value)] : [print(value)];
    }),
  );
}

export const FUNCTIONS: Readonly<Record<string, GoFunction>> = {
  not: (value) => !isTrue(value!),
  eq: (first, ...others) => others.some((other) => isEqual(first!, other)),
  ne: (a, b) => !isEqual(a!, b!),
  lt: compare((a, b) => a < b),
  le: compare((a, b) => a <= b),
  gt: compare((a, b) => a > b),
  ge: compare((a, b) => a >= b),
  len: (value) => length(value!),
  index: (value, ...keys) => index(value!, ...keys),
  slice: (value, from, to) => slice(value!, from, to),
  print: sprint,
  println: (...args) =>
    Text.concat([
      ...args.flatMap((value, at) => (at === 0 ? [print(value)] : [Text.of(" "), print(value)])),
      Text.of("\n"),
    ]),
  printf: (format, ...args) => printf(format!, ...args),
  json: (value) => Text.fromData(toJson(value!)),
};

/** How many arguments each must have at least. */
export const ARGUMENTS: Readonly<Record<string, number>> = {
  ...Object.fromEntries(Object.keys(FUNCTIONS).map((name) => [name, 1])),
  ...Object.fromEntries(["eq", "ne", "lt", "le", "gt", "ge", "index"].map((name) => [name, 2])),
  print: 0,
  println: 0,
};
