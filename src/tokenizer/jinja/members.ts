import { repr } from "./print.js";
import { stringMethod } from "./string-methods.js";
import { Text } from "./text.js";
import {
  type Callable,
  Dict,
  isEqual,
  JinjaError,
  Namespace,
  orElse,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.js";

/** `value.name` and `value[key]`: jinja2's getattr and getitem, with the methods that its sandbox lets a template call. */

/** `value.name`: a Python attribute first, then an item of that name. */
export function attribute(value: Value, name: string): Value {
  if (value instanceof Undefined) value.raise();
  return orElse(method(value, name) ?? item(value, name), () => missing(value, `has no attribute '${name}'`));
}

/** `value[key]`: an item first, then, for a string, a Python attribute. */
export function subscript(value: Value, key: Value): Value {
  if (value instanceof Undefined) value.raise();
  if (value instanceof Dict) {
    const found = value.get(key);
    if (found !== undefined) return found;
  }
  const sequence = Array.isArray(value) ? value : value instanceof Tuple || value instanceof View ? value.items : null;
  if (typeof key === "number" || typeof key === "boolean") {
    if (value instanceof Text) return slicePoint(value, Number(key)) ?? missing(value, `has no element ${key}`);
    return orElse(sequence?.at(Number(key)), () => missing(value, `has no element ${key}`));
  }
  if (key instanceof Text) {
    const found = item(value, key.value);
    return found !== undefined
      ? found
      : orElse(method(value, key.value), () => missing(value, `has no attribute '${key.value}'`));
  }
  return missing(value, `has no element ${repr(key)}`);
}

/** `value.name` without its items: what jinja2's `attr` filter reads. */
export function attributeOnly(value: Value, name: string): Value {
  const field = value instanceof Namespace ? value.fields.get(name) : undefined;
  if (field !== undefined) return field;
  return orElse(method(value, name), () => missing(value, `has no attribute '${name}'`));
}

/** The item or method that is there, or undefined: for filters that walk attributes. */
export function lookup(value: Value, key: Value): Value {
  return value instanceof Undefined ? value : subscript(value, key);
}

function slicePoint(text: Text, index: number): Text | undefined {
  const count = text.numPoints;
  const at = index < 0 ? index + count : index;
  return at < 0 || at >= count ? undefined : text.slice(text.offsetOfPoint(at), text.offsetOfPoint(at + 1));
}

function missing(value: Value, what: string): Undefined {
  // jinja2 quotes the owner of an attribute, but not that of an element.
  const owner = value === null ? "None" : `${typeName(value)} object`;
  return new Undefined(`${what.startsWith("has no attribute") ? `'${owner}'` : owner} ${what}`);
}

function item(value: Value, name: string): Value | undefined {
  if (value instanceof Dict) return value.getByName(name);
  return value instanceof Namespace ? value.fields.get(name) : undefined;
}

function method(value: Value, name: string): Callable | undefined {
  if (value instanceof Text) return stringMethod(value, name);
  if (value instanceof Dict) return dictMethod(value, name);
  if (Array.isArray(value)) return listMethod(value, name);
  return value instanceof Tuple ? sequenceMethod(value.items, name) : undefined;
}

const CHANGES_A_DICT = new Set(["clear", "pop", "popitem", "setdefault", "update"]);
const CHANGES_A_LIST = new Set(["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]);

function refused(type: string, name: string): Callable {
  return () => {
    throw new JinjaError("SecurityError", `${type}.${name} is not safely callable: a template may not change its data`);
  };
}

function dictMethod(dict: Dict, name: string): Callable | undefined {
  const named = (label: string) => (items: Text) => Text.concat([Text.of(`${label}(`), items, Text.of(")")]);
  switch (name) {
    case "get":
      return ([key = null, fallback = null]) => orElse(dict.get(key), () => fallback);
    case "items":
      return () =>
        new View(
          dict.items().map((pair) => new Tuple(pair)),
          named("dict_items"),
        );
    case "keys":
      return () => new View(dict.keys(), named("dict_keys"));
    case "values":
      return () => new View(dict.values(), named("dict_values"));
    case "copy":
      return () => Dict.fromEntries(dict.items());
    default:
      return CHANGES_A_DICT.has(name) ? refused("dict", name) : undefined;
  }
}

function listMethod(list: Value[], name: string): Callable | undefined {
  if (name === "copy") return () => [...list];
  return CHANGES_A_LIST.has(name) ? refused("list", name) : sequenceMethod(list, name);
}

function sequenceMethod(items: readonly Value[], name: string): Callable | undefined {
  if (name === "count") return ([wanted = null]) => items.filter((other) => isEqual(other, wanted)).length;
  if (name !== "index") return undefined;
  return ([wanted = null]) => {
    const at = items.findIndex((other) => isEqual(other, wanted));
    if (at < 0) throw new JinjaError("ValueError", `${repr(wanted)} is not in list`);
    return at;
  };
}
