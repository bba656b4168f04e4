import { PYTHON_WHITESPACE } from "../encode-pair.js";
import { formatBraces } from "./format-braces.js";
import { Text } from "./text.js";
import { type Callable, iterate, JinjaError, Tuple, typeName, type Value } from "./values.js";

/** The methods of Python's str that templates call. Indices are code points, as in Python. */

type Method = (text: Text, args: Value[], kwargs: Map<string, Value>) => Value;

export function stringMethod(text: Text, name: string): Callable | undefined {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  return method && ((args, kwargs) => method(text, args, kwargs));
}

const SPACE = `[${PYTHON_WHITESPACE}]`;
const PYTHON_SPACES: ReadonlySet<string> = new Set(PYTHON_WHITESPACE);
const ALL_SPACE = new RegExp(`^${SPACE}+$`);
/** Ends of lines, as str.splitlines counts them. */
const LINE_END = "\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029";
const LINES = new RegExp(`[^${LINE_END}]*(\\r\\n|[${LINE_END}]|$)`, "g");
const SPACES = new RegExp(`${SPACE}+`, "g");

/** str.strip, lstrip and rstrip; without `characters`, of white space. Walks from the ends: a pattern would be quadratic. */
export function strip(text: Text, characters: Value | undefined, side: "left" | "right" | "both"): Text {
  const isDefault = characters === undefined || characters === null;
  const wanted = isDefault ? PYTHON_SPACES : new Set(requireText(characters, "strip arg"));
  const { value } = text;
  let [start, end] = [0, value.length];
  if (side !== "right") {
    for (const point of value) {
      if (!wanted.has(point)) break;
      start += point.length;
    }
  }
  while (side !== "left" && end > start) {
    const isPair = end - start >= 2 && /^[\ud800-\udbff][\udc00-\udfff]$/.test(value.slice(end - 2, end));
    const point = value.slice(end - (isPair ? 2 : 1), end);
    if (!wanted.has(point)) break;
    end -= point.length;
  }
  return text.slice(start, end);
}

export function replaceAll(text: Text, old: Text, replacement: Text, count: number): Text {
  if (count === 0) return text;
  const limit = count < 0 ? Number.POSITIVE_INFINITY : count;
  if (old.length > 0) return replacement.join(text.split(old.value, limit));
  const points = text.points();
  const parts = points.flatMap((point, index) => (index < limit ? [replacement, point] : [point]));
  return Text.concat(points.length < limit ? [...parts, replacement] : parts);
}

/** Every letter that follows a non-letter upper, every other lower. */
export function title(text: Text): Text {
  return text.map((part) => part.replace(/\p{L}[\p{L}\p{M}]*/gu, capitalizeWord));
}

export function capitalize(text: Text): Text {
  const first = text.points()[0];
  if (first === undefined) return text;
  return Text.concat([first.map(titlecase), text.slice(first.length).map((part) => part.toLowerCase())]);
}

/** First character upper, the rest lower, as jinja2's `title` filter treats a word. */
export function upperThenLower(word: string): string {
  const [first = "", ...rest] = [...word];
  return first.toUpperCase() + rest.join("").toLowerCase();
}

function capitalizeWord(word: string): string {
  const [first = "", ...rest] = [...word];
  return titlecase(first) + rest.join("").toLowerCase();
}

/** Title case of one character: of those that become several ("\ufb01", "\u00df") only the first is upper. */
function titlecase(char: string): string {
  const [first = "", ...rest] = [...char.toUpperCase()];
  return first + rest.join("").toLowerCase();
}

function requireText(value: Value | undefined, what: string): string {
  if (value instanceof Text) return value.value;
  throw new JinjaError("TypeError", `${what} must be a str, not ${typeName(value ?? null)}`);
}

function textArgument(value: Value | undefined, what: string): Text {
  requireText(value, what);
  return value as Text;
}

function count(value: Value | undefined, fallback: number): number {
  if (value === undefined || value === null) return fallback;
  if (typeof value === "number") return value;
  throw new JinjaError("TypeError", `'${typeName(value)}' object cannot be interpreted as an integer`);
}

function splitAtSpace(text: Text, limit: number): Text[] {
  const rest = strip(text, undefined, "left");
  const parts: Text[] = [];
  let start = 0;
  for (const gap of rest.value.matchAll(SPACES)) {
    if (parts.length >= limit) break;
    parts.push(rest.slice(start, gap.index));
    start = gap.index + gap[0].length;
  }
  return start < rest.length ? [...parts, rest.slice(start)] : parts;
}

const split: Method = (text, args, kwargs) => {
  const separator = args[0] ?? kwargs.get("sep") ?? null;
  const maximum = count(args[1] ?? kwargs.get("maxsplit"), -1);
  const limit = maximum < 0 ? Number.POSITIVE_INFINITY : maximum;
  if (separator === null) return splitAtSpace(text, limit);
  if (requireText(separator, "sep") === "") throw new JinjaError("ValueError", "empty separator");
  return text.split(requireText(separator, "sep"), limit);
};

const splitFromRight: Method = (text, args, kwargs) => {
  const parts = split(text, args.slice(0, 1), kwargs.has("sep") ? new Map([["sep", kwargs.get("sep")!]]) : new Map());
  const all = parts as Text[];
  const maximum = count(args[1] ?? kwargs.get("maxsplit"), -1);
  const separator = args[0] ?? kwargs.get("sep");
  if (maximum < 0 || all.length <= maximum + 1 || !(separator instanceof Text)) return all;
  const kept = all.length - maximum;
  return [separator.join(all.slice(0, kept)), ...all.slice(kept)];
};

function find(from: "left" | "right"): (text: Text, args: Value[]) => number {
  return (text, args) => {
    const wanted = requireText(args[0], "the substring");
    const points = [...text.value];
    const bound = (value: Value | undefined, fallback: number): number => {
      const index = count(value, fallback);
      return Math.min(Math.max(index < 0 ? index + points.length : index, 0), points.length);
    };
    const start = bound(args[1], 0);
    const piece = points.slice(start, bound(args[2], points.length)).join("");
    const at = from === "left" ? piece.indexOf(wanted) : piece.lastIndexOf(wanted);
    return at < 0 ? -1 : start + [...piece.slice(0, at)].length;
  };
}

function startsOrEnds(test: (text: string, affix: string) => boolean): Method {
  return (text, [affix]) => {
    const affixes = affix instanceof Tuple ? affix.items : [affix];
    return affixes.some((one) => test(text.value, requireText(one, "the first argument")));
  };
}

function every(pattern: RegExp): Method {
  return (text) => pattern.test(text.value);
}

function pad(place: (missing: number, width: number) => number): Method {
  return (text, [width, fill]) => {
    const missing = Math.max(count(width, 0) - [...text.value].length, 0);
    const filler = fill instanceof Text ? fill : Text.of(" ");
    const left = place(missing, count(width, 0));
    return Text.concat([filler.repeat(left), text, filler.repeat(missing - left)]);
  };
}

function partition(at: (text: string, separator: string) => number, whole: "first" | "last"): Method {
  return (text, [separator]) => {
    const wanted = requireText(separator, "the separator");
    const index = at(text.value, wanted);
    if (index >= 0) {
      const end = index + wanted.length;
      return new Tuple([text.slice(0, index), text.slice(index, end), text.slice(end)]);
    }
    return new Tuple(whole === "first" ? [text, Text.EMPTY, Text.EMPTY] : [Text.EMPTY, Text.EMPTY, text]);
  };
}

const METHODS: Readonly<Record<string, Method>> = {
  upper: (text) => text.map((part) => part.toUpperCase()),
  lower: (text) => text.map((part) => part.toLowerCase()),
  casefold: (text) => text.map((part) => part.toUpperCase().toLowerCase()),
  title,
  capitalize,
  swapcase: (text) =>
    text.map((part) => [...part].map((c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join("")),
  strip: (text, [characters]) => strip(text, characters, "both"),
  lstrip: (text, [characters]) => strip(text, characters, "left"),
  rstrip: (text, [characters]) => strip(text, characters, "right"),
  split,
  rsplit: splitFromRight,
  splitlines: (text, [keepEnds]) => {
    const lines: Text[] = [];
    for (const match of text.value.matchAll(LINES)) {
      if (match[0] === "") continue;
      const end = match.index + match[0].length;
      lines.push(text.slice(match.index, keepEnds === true ? end : end - match[1]!.length));
    }
    return lines;
  },
  startswith: startsOrEnds((text, affix) => text.startsWith(affix)),
  endswith: startsOrEnds((text, affix) => text.endsWith(affix)),
  replace: (text, [old, replacement, limit], kwargs) =>
    replaceAll(
      text,
      textArgument(old, "old"),
      textArgument(replacement, "new"),
      count(limit ?? kwargs.get("count"), -1),
    ),
  removeprefix: (text, [affix]) => {
    const prefix = requireText(affix, "the prefix");
    return text.value.startsWith(prefix) ? text.slice(prefix.length) : text;
  },
  removesuffix: (text, [affix]) => {
    const suffix = requireText(affix, "the suffix");
    return suffix !== "" && text.value.endsWith(suffix) ? text.slice(0, text.length - suffix.length) : text;
  },
  join: (text, [items]) =>
    text.join(
      iterate(items ?? null).map((item, index) => {
        if (item instanceof Text) return item;
        throw new JinjaError("TypeError", `sequence item ${index}: expected str instance, ${typeName(item)} found`);
      }),
    ),
  find: find("left"),
  rfind: find("right"),
  index: (text, args) => {
    const at = find("left")(text, args);
    if (at < 0) throw new JinjaError("ValueError", "substring not found");
    return at;
  },
  count: (text, [wanted]) => {
    const piece = requireText(wanted, "the substring");
    return piece === "" ? [...text.value].length + 1 : text.value.split(piece).length - 1;
  },
  format: formatBraces,
  zfill: (text, [width]) => {
    const sign = /^[-+]/.test(text.value) ? 1 : 0;
    const missing = Math.max(count(width, 0) - [...text.value].length, 0);
    return Text.concat([text.slice(0, sign), Text.of("0").repeat(missing), text.slice(sign)]);
  },
  ljust: pad(() => 0),
  rjust: pad((missing) => missing),
  // The odd space goes left only where both widths are odd, as in CPython.
  center: pad((missing, width) => Math.floor(missing / 2) + (missing & width & 1)),
  partition: partition((text, separator) => text.indexOf(separator), "first"),
  rpartition: partition((text, separator) => text.lastIndexOf(separator), "last"),
  isdigit: every(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2460-\u2468]+$/u),
  isdecimal: every(/^\p{Nd}+$/u),
  isnumeric: every(/^\p{N}+$/u),
  isalpha: every(/^\p{L}+$/u),
  isalnum: every(/^[\p{L}\p{N}]+$/u),
  isspace: every(ALL_SPACE),
  isascii: (text) => [...text.value].every((char) => char <= "\x7f"),
  isupper: (text) => text.value !== text.value.toLowerCase() && text.value === text.value.toUpperCase(),
  islower: (text) => text.value !== text.value.toUpperCase() && text.value === text.value.toLowerCase(),
};
