import { repr, str } from "./print.js";
import { Text } from "./text.js";
import {
  asNumber,
  compare,
  Dict,
  Float,
  Generator,
  isEqual,
  itemsOf,
  JinjaError,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.js";

/** The longest list that a template may make by repetition: it may come with a hostile file. */
const MAX_REPEATED = 1 << 20;

/** Python's binary operators, with its errors. `and` and `or` are the interpreter's: they may leave the right side alone. */
export function binary(operator: string, a: Value, b: Value): Value {
  switch (operator) {
    case "==":
      return isEqual(a, b);
    case "!=":
      return !isEqual(a, b);
    case "<":
      return compare(a, b, "<") < 0;
    case ">":
      return compare(a, b, ">") > 0;
    case "<=":
      return compare(a, b, "<=") <= 0;
    case ">=":
      return compare(a, b, ">=") >= 0;
    case "in":
      return contains(b, a);
    case "not in":
      return !contains(b, a);
    case "~":
      return Text.concat([str(a), str(b)]);
    default:
      return arithmetic(operator, a, b);
  }
}

export function contains(container: Value, item: Value): boolean {
  if (container instanceof Text) {
    if (item instanceof Text) return container.value.includes(item.value);
    throw new JinjaError("TypeError", `'in <string>' requires string as left operand, not ${typeName(item)}`);
  }
  if (container instanceof Dict) return container.has(item);
  const items = itemsOf(container);
  if (items === undefined)
    throw new JinjaError("TypeError", `argument of type '${typeName(container)}' is not iterable`);
  return items.some((other) => isEqual(other, item));
}

function arithmetic(operator: string, a: Value, b: Value): Value {
  if (a instanceof Undefined) a.raise();
  if (b instanceof Undefined) b.raise();
  const [x, y] = [asNumber(a), asNumber(b)];
  if (x !== undefined && y !== undefined) return numeric(operator, x, y, a instanceof Float || b instanceof Float);
  if (operator === "+") {
    if (a instanceof Text && b instanceof Text) return Text.concat([a, b]);
    if (Array.isArray(a) && Array.isArray(b)) return [...a, ...b];
    if (a instanceof Tuple && b instanceof Tuple) return new Tuple([...a.items, ...b.items]);
    if (a instanceof Text || Array.isArray(a) || a instanceof Tuple) {
      throw new JinjaError("TypeError", `can only concatenate ${typeName(a)} (not "${typeName(b)}") to ${typeName(a)}`);
    }
  }
  if (operator === "*") {
    const [sequence, count] = typeof b === "number" ? [a, b] : [b, a];
    if (typeof count === "number") {
      if (sequence instanceof Text) return sequence.repeat(count);
      if (Array.isArray(sequence) && sequence.length * count > MAX_REPEATED)
        throw new RangeError(`a list of ${sequence.length * count} items`);
      if (Array.isArray(sequence)) return new Array<Value[]>(Math.max(count, 0)).fill(sequence).flat() as Value[];
    }
  }
  if (operator === "%" && a instanceof Text) return formatPercent(a, b);
  throw new JinjaError(
    "TypeError",
    `unsupported operand type(s) for ${operator === "**" ? "** or pow()" : operator}: '${typeName(a)}' and '${typeName(b)}'`,
  );
}

function numeric(operator: string, x: number, y: number, isFloat: boolean): Value {
  const wrap = (value: number): Value => (isFloat ? new Float(value) : value);
  if (y === 0 && (operator === "/" || operator === "//" || operator === "%")) {
    throw new JinjaError("ValueError", "division by zero");
  }
  switch (operator) {
    case "+":
      return wrap(x + y);
    case "-":
      return wrap(x - y);
    case "*":
      return wrap(x * y);
    case "/":
      return new Float(x / y);
    case "//":
      return wrap(Math.floor(x / y));
    case "%":
      // The sign of the divisor, as in Python; JavaScript's % has the dividend's.
      return wrap(((x % y) + y) % y);
    default: {
      const power = x ** y;
      return isFloat || y < 0 ? new Float(power) : power;
    }
  }
}

/** `text % arguments`, for the conversions that templates use: %s, %r, %d, %i, %f and %%. */
export function formatPercent(format: Text, value: Value): Text {
  const args = value instanceof Tuple ? [...value.items] : [value];
  const parts: Text[] = [];
  let end = 0;
  for (const match of format.value.matchAll(/%(?:\((\w+)\))?(?:\.(\d+))?([a-zA-Z%])/g)) {
    parts.push(format.slice(end, match.index));
    end = match.index + match[0].length;
    const [, name, precision, conversion] = match;
    if (conversion === "%") {
      parts.push(format.slice(match.index, match.index + 1));
      continue;
    }
    const named = name !== undefined && value instanceof Dict ? value.getByName(name) : args.shift();
    if (named === undefined) throw new JinjaError("TypeError", "not enough arguments for format string");
    parts.push(convert(conversion!, precision === undefined ? 6 : Number(precision), named));
  }
  return Text.concat([...parts, format.slice(end)]);
}

function convert(conversion: string, precision: number, value: Value): Text {
  if (conversion === "s") return str(value);
  if (conversion === "r") return repr(value);
  const number = asNumber(value);
  if (number === undefined)
    throw new JinjaError("TypeError", `%${conversion} format: a number is required, not ${typeName(value)}`);
  if (conversion === "d" || conversion === "i") return Text.of(String(Math.trunc(number)));
  if (conversion === "f") return Text.of(number.toFixed(precision));
  throw new JinjaError("ValueError", `unsupported format character '${conversion}'`);
}

/** Unary minus or plus. */
export function signed(operator: string, value: Value): Value {
  if (value instanceof Undefined) value.raise();
  const number = asNumber(value);
  if (number === undefined)
    throw new JinjaError("TypeError", `bad operand type for unary ${operator}: '${typeName(value)}'`);
  const result = operator === "-" ? -number : number;
  // There is no int -0.
  return value instanceof Float ? new Float(result) : result + 0;
}

/** value[start:stop:step] over code points or items. */
export function slice(value: Value, start: Value | null, stop: Value | null, step: Value | null): Value {
  if (value instanceof Undefined) value.raise();
  const items =
    value instanceof Dict || value instanceof Text || value instanceof Generator ? undefined : itemsOf(value);
  const length = value instanceof Text ? value.numPoints : items?.length;
  if (length === undefined) throw new JinjaError("TypeError", `'${typeName(value)}' object is not subscriptable`);
  const index = (bound: Value | null): number | null => {
    if (bound === null || typeof bound === "number") return bound;
    throw new JinjaError("TypeError", "slice indices must be integers or None");
  };
  const stride = index(step) ?? 1;
  if (stride === 0) throw new JinjaError("ValueError", "slice step cannot be zero");
  const clamp = (bound: number | null, missing: number): number => {
    if (bound === null) return missing;
    const [low, high] = stride > 0 ? [0, length] : [-1, length - 1];
    return Math.min(Math.max(bound < 0 ? bound + length : bound, low), high);
  };
  const from = clamp(index(start), stride > 0 ? 0 : length - 1);
  const to = clamp(index(stop), stride > 0 ? length : -1);
  if (value instanceof Text && stride === 1)
    return value.slice(value.offsetOfPoint(from), value.offsetOfPoint(Math.max(from, to)));
  const all = items ?? (value as Text).points();
  const chosen: Value[] = [];
  for (let i = from; stride > 0 ? i < to : i > to; i += stride) chosen.push(all[i]!);
  if (value instanceof Text) return Text.concat(chosen as Text[]);
  return value instanceof Tuple ? new Tuple(chosen) : value instanceof View ? new View(chosen, value.print) : chosen;
}
