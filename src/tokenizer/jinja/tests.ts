import { binary } from "./operators.js";
import { Text } from "./text.js";
import {
  asNumber,
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

/** jinja2's tests: what may follow `is`. */
export type Test = (value: Value, args: Value[]) => boolean;

function comparison(operator: string): Test {
  return (value, [other = null]) => binary(operator, value, other) === true;
}

function remainder(value: Value, divisor: Value): number {
  const rest = binary("%", value, divisor);
  return asNumber(rest) ?? Number.NaN;
}

function isText(check: (text: string) => boolean): Test {
  return (value) => value instanceof Text && check(value.value);
}

export const TESTS: Readonly<Record<string, Test>> = {
  boolean: (value) => typeof value === "boolean",
  callable: (value) => typeof value === "function",
  defined: (value) => !(value instanceof Undefined),
  undefined: (value) => value instanceof Undefined,
  divisibleby: (value, [divisor = null]) => remainder(value, divisor) === 0,
  escaped: () => false,
  even: (value) => remainder(value, 2) === 0,
  odd: (value) => remainder(value, 2) === 1,
  false: (value) => value === false,
  true: (value) => value === true,
  none: (value) => value === null,
  integer: (value) => typeof value === "number",
  float: (value) => value instanceof Float,
  number: (value) => asNumber(value) !== undefined,
  string: (value) => value instanceof Text,
  mapping: (value) => value instanceof Dict,
  iterable: (value) => value instanceof Generator || itemsOf(value) !== undefined,
  sequence: (value) =>
    value instanceof Text ||
    Array.isArray(value) ||
    value instanceof Tuple ||
    value instanceof Dict ||
    value instanceof View,
  lower: isText((text) => text !== text.toUpperCase() && text === text.toLowerCase()),
  upper: isText((text) => text !== text.toLowerCase() && text === text.toUpperCase()),
  in: (value, [container = null]) => binary("in", value, container) === true,
  sameas: (value, [other = null]) => typeName(value) === typeName(other) && isEqual(value, other),
  eq: comparison("=="),
  equalto: comparison("=="),
  ne: comparison("!="),
  lt: comparison("<"),
  lessthan: comparison("<"),
  le: comparison("<="),
  gt: comparison(">"),
  greaterthan: comparison(">"),
  ge: comparison(">="),
  test: (value) => value instanceof Text && Object.hasOwn(TESTS, value.value),
  "==": comparison("=="),
  "!=": comparison("!="),
  "<": comparison("<"),
  "<=": comparison("<="),
  ">": comparison(">"),
  ">=": comparison(">="),
};

export function testNamed(name: string): Test {
  if (!Object.hasOwn(TESTS, name)) throw new JinjaError("TemplateError", `No test named '${name}'.`);
  return TESTS[name]!;
}
