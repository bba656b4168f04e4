import { Text } from "./text.js";
import {
  Dict,
  Float,
  Generator,
  hashOf,
  JinjaError,
  Namespace,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.js";

/** How Python prints values: str(), repr(), and json.dumps as transformers' `tojson` filter calls it (no HTML escaping). */

/** str(value). */
export function str(value: Value): Text {
  if (value instanceof Text) return value;
  if (value instanceof Undefined) return Text.EMPTY;
  return repr(value);
}

/** repr(value). */
export function repr(value: Value): Text {
  if (value === null) return Text.of("None");
  if (typeof value === "boolean") return Text.of(value ? "True" : "False");
  if (typeof value === "number") return Text.of(BigInt(value).toString());
  if (value instanceof Float) return Text.of(floatRepr(value.value));
  if (value instanceof Text) return quote(value);
  if (value instanceof Undefined) return Text.of("Undefined");
  if (Array.isArray(value)) return enclose("[", commaList(value), "]");
  if (value instanceof Tuple) return enclose("(", commaList(value.items), value.items.length === 1 ? ",)" : ")");
  if (value instanceof View) return value.print(enclose("[", commaList(value.items), "]"));
  if (value instanceof Generator) return Text.of("<generator object>");
  if (value instanceof Dict) {
    const items = value.items().map(([key, field]) => Text.concat([repr(key), Text.of(": "), repr(field)]));
    return enclose("{", Text.of(", ").join(items), "}");
  }
  if (value instanceof Namespace) {
    const fields = Dict.fromEntries([...value.fields].map(([name, field]) => [Text.fromData(name), field] as const));
    return enclose("<Namespace ", repr(fields), ">");
  }
  return Text.of("<function>");
}

function enclose(open: string, inner: Text, close: string): Text {
  return Text.concat([Text.of(open), inner, Text.of(close)]);
}

function commaList(items: readonly Value[]): Text {
  return Text.of(", ").join(items.map(repr));
}

/** repr of a float: the shortest digits, an exponent below 1e-4 and from 1e16. */
export function floatRepr(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits, power] = value.toExponential().split("e") as [string, string];
  const exponent = Number(power);
  if (value === 0 || (exponent >= -4 && exponent < 16)) {
    const plain = String(value);
    return plain.includes(".") ? plain : `${plain}.0`;
  }
  return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

const REPR_ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };
/** What str.isprintable() refuses, but the space. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

function quote(text: Text): Text {
  const mark = text.value.includes("'") && !text.value.includes('"') ? '"' : "'";
  const escaped = text.map((part) =>
    part.replace(/[\s\S]/gu, (char) => {
      if (char === mark) return `\\${mark}`;
      const known = REPR_ESCAPES[char];
      if (known !== undefined) return known;
      if (!UNPRINTABLE.test(char)) return char;
      const code = char.codePointAt(0)!;
      if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
      return code <= 0xffff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
    }),
  );
  return enclose(mark, escaped, mark);
}

export interface JsonOptions {
  ensureAscii: boolean;
  /** Text of one level, or null for one line. */
  indent: string | null;
  separators: readonly [Text, Text];
  sortKeys: boolean;
}

/** json.dumps(value). */
export function toJson(value: Value, options: JsonOptions, depth: number = 0): Text {
  if (value === null) return Text.of("null");
  if (typeof value === "boolean") return Text.of(String(value));
  if (typeof value === "number") return Text.of(BigInt(value).toString());
  if (value instanceof Float) return Text.of(jsonFloat(value.value));
  if (value instanceof Text) return jsonString(value, options);
  if (Array.isArray(value) || value instanceof Tuple) {
    const items = Array.isArray(value) ? value : value.items;
    return container(
      "[",
      items.map((item) => toJson(item, options, depth + 1)),
      "]",
      options,
      depth,
    );
  }
  if (value instanceof Dict) {
    const entries = value.items();
    if (options.sortKeys) entries.sort(([a], [b]) => (hashOf(a) < hashOf(b) ? -1 : 1));
    const fields = entries.map(([key, field]) =>
      Text.concat([jsonKey(key, options), options.separators[1], toJson(field, options, depth + 1)]),
    );
    return container("{", fields, "}", options, depth);
  }
  throw new JinjaError("TypeError", `Object of type ${typeName(value)} is not JSON serializable`);
}

function container(open: string, parts: readonly Text[], close: string, options: JsonOptions, depth: number): Text {
  if (parts.length === 0) return Text.of(open + close);
  const line = (level: number): Text => Text.of(options.indent === null ? "" : `\n${options.indent.repeat(level)}`);
  const separator = Text.concat([options.separators[0], line(depth + 1)]);
  return Text.concat([Text.of(open), line(depth + 1), separator.join(parts), line(depth), Text.of(close)]);
}

function jsonString(text: Text, options: JsonOptions): Text {
  const escaped = text.map((part) => {
    const body = JSON.stringify(part).slice(1, -1);
    if (!options.ensureAscii) return body;
    return body.replace(/[\u007f-\uffff]/g, (unit) =>
      unit === "\u007f" ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  });
  return enclose('"', escaped, '"');
}

function jsonKey(key: Value, options: JsonOptions): Text {
  if (key instanceof Text) return jsonString(key, options);
  if (key === null || typeof key === "number" || typeof key === "boolean" || key instanceof Float) {
    return jsonString(toJson(key, options), options);
  }
  throw new JinjaError("TypeError", `keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  return floatRepr(value);
}
