import type { Arguments } from "./arguments.js";
import { attributeOnly } from "./members.js";
import { formatPercent } from "./operators.js";
import { type JsonOptions, str, toJson } from "./print.js";
import { type Filter, mapFilter, SEQUENCE_FILTERS } from "./sequence-filters.js";
import { capitalize, replaceAll, stringMethod, strip, upperThenLower } from "./string-methods.js";
import { Text } from "./text.js";
import { asNumber, Float, isTrue, iterate, JinjaError, Tuple, typeName, Undefined, type Value } from "./values.js";

/** jinja2's filters, with transformers' own `tojson`. */

const tojson: Filter = (value, args) => {
  const indent = args.get(1, "indent", null);
  const separators = args.get(2, "separators", null);
  const options: JsonOptions = {
    ensureAscii: isTrue(args.get(0, "ensure_ascii", false)),
    indent: indent === null ? null : indent instanceof Text ? indent.value : " ".repeat(args.integer(1, "indent", 0)),
    separators: [Text.of(indent === null ? ", " : ","), Text.of(": ")],
    sortKeys: isTrue(args.get(3, "sort_keys", false)),
  };
  if (separators !== null) {
    const [item, key] = iterate(separators);
    options.separators = [str(item ?? null), str(key ?? null)];
  }
  return toJson(value, options);
};

const fallback: Filter = (value, args) => {
  const whenFalse = isTrue(args.get(1, "boolean", false));
  return value instanceof Undefined || (whenFalse && !isTrue(value)) ? args.get(0, "default_value", Text.EMPTY) : value;
};

const int: Filter = (value, args) => {
  const other = args.get(0, "default", 0);
  const number = asNumber(value);
  if (number !== undefined) return Number.isFinite(number) ? Math.trunc(number) + 0 : other;
  if (!(value instanceof Text)) return other;
  const base = args.integer(1, "base", 10);
  const text = value.value.trim().replaceAll("_", "");
  if (base === 10 && /^[-+]?\d+$/.test(text)) return Number(text);
  if (base !== 10 && /^[-+]?(0[xob])?[0-9a-z]+$/i.test(text)) {
    const parsed = Number.parseInt(text.replace(/^([-+]?)0[xob]/i, "$1"), base);
    return Number.isNaN(parsed) ? other : parsed;
  }
  return isFloatText(text) ? Math.trunc(Number(text)) + 0 : other;
};

const float: Filter = (value, args) => {
  const number = asNumber(value);
  if (number !== undefined) return new Float(number);
  const text = value instanceof Text ? value.value.trim() : "";
  return isFloatText(text) ? new Float(Number(text)) : args.get(0, "default", new Float(0));
};

function isFloatText(text: string): boolean {
  return /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text);
}

const abs: Filter = (value) => {
  const number = asNumber(value);
  if (number === undefined) throw new JinjaError("TypeError", `bad operand type for abs(): '${typeName(value)}'`);
  return value instanceof Float ? new Float(Math.abs(number)) : Math.abs(number);
};

/** Python's round: ties to the even digit. */
const round: Filter = (value, args) => {
  const scale = 10 ** args.integer(0, "precision", 0);
  const how = str(args.get(1, "method", Text.of("common"))).value;
  const scaled = (asNumber(value) ?? Number.NaN) * scale;
  const low = Math.floor(scaled);
  const tie = scaled - low === 0.5;
  const nearest = tie ? low + (low % 2 === 0 ? 0 : 1) : Math.round(scaled);
  if (how === "common" && !(value instanceof Float)) return Math.round(nearest / scale);
  const rounded = how === "ceil" ? Math.ceil(scaled) : how === "floor" ? low : nearest;
  return new Float(rounded / scale);
};

const indent: Filter = (value, args) => {
  const width = args.get(0, "width", 4);
  const prefix = width instanceof Text ? width : Text.of(" ").repeat(args.integer(0, "width", 4));
  const [first, blank] = [isTrue(args.get(1, "first", false)), isTrue(args.get(2, "blank", false))];
  const lines = str(value).split("\n");
  return Text.of("\n").join(
    lines.map((line, index) =>
      (index === 0 && !first) || (index > 0 && line.length === 0 && !blank) ? line : Text.concat([prefix, line]),
    ),
  );
};

const truncate: Filter = (value, args) => {
  const length = args.integer(0, "length", 255);
  const end = str(args.get(2, "end", Text.of("...")));
  const points = str(value).points();
  if (points.length <= length + args.integer(3, "leeway", 5)) return str(value);
  const kept = Text.concat(points.slice(0, length - end.points().length));
  const space = isTrue(args.get(1, "killwords", false)) ? -1 : kept.value.lastIndexOf(" ");
  return Text.concat([space < 0 ? kept : kept.slice(0, space), end]);
};

const HTML: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };
const escapeHtml: Filter = (value) => str(value).map((part) => part.replace(/[&<>'"]/g, (char) => HTML[char]!));

function viaMethod(name: string): Filter {
  return (value, args) => stringMethod(str(value), name)!([...args.positional], new Map(args.named));
}

const FILTERS: Readonly<Record<string, Filter>> = {
  ...SEQUENCE_FILTERS,
  abs,
  attr: (value, args) => attributeOnly(value, str(args.get(0, "name", null)).value),
  capitalize: (value) => capitalize(str(value)),
  center: (value, args) => viaMethod("center")(str(value), args),
  d: fallback,
  default: fallback,
  e: escapeHtml,
  escape: escapeHtml,
  float,
  format: (value, args) => formatPercent(str(value), new Tuple(args.positional)),
  indent,
  int,
  lower: viaMethod("lower"),
  map: mapFilter(filterNamed),
  replace: (value, args) =>
    replaceAll(str(value), str(args.get(0, "old", null)), str(args.get(1, "new", null)), args.integer(2, "count", -1)),
  round,
  safe: (value) => value,
  string: (value) => str(value),
  title: (value) =>
    // Not str.title: only these separators begin a word.
    str(value).map((part) => part.replace(/[^-\s({[<]+/gu, upperThenLower)),
  tojson,
  trim: (value, args) => strip(str(value), args.get(0, "chars", null), "both"),
  truncate,
  upper: viaMethod("upper"),
  urlencode: (value) =>
    str(value).map((part) =>
      encodeURIComponent(part)
        .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
        .replaceAll("%2F", "/"),
    ),
  wordcount: (value) => (str(value).value.match(/[\p{L}\p{N}_]+/gu) ?? []).length,
};

export function filterNamed(name: string): Filter {
  if (!Object.hasOwn(FILTERS, name)) throw new JinjaError("TemplateError", `No filter named '${name}'.`);
  return FILTERS[name]!;
}

export function applyFilter(name: string, value: Value, args: Arguments): Value {
  return filterNamed(name)(value, args);
}
