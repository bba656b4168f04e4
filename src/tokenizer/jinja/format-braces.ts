import { repr, str } from "./print.js";
import { Text } from "./text.js";
import { asNumber, Dict, JinjaError, typeName, type Value } from "./values.js";

/** `"{}, {0} and {name:.2f}".format(...)`, with fields of fields and the usual format specifications. */
export function formatBraces(format: Text, args: Value[], kwargs: Map<string, Value>): Text {
  const parts: Text[] = [];
  let end = 0;
  let next = 0;
  const styles = new Set<string>();
  for (const match of format.value.matchAll(/\{\{|\}\}|\{([^{}!:]*)(?:!([rs]))?(?::([^{}]*))?\}/g)) {
    parts.push(format.slice(end, match.index));
    end = match.index + match[0].length;
    if (match[1] === undefined) {
      parts.push(format.slice(match.index, match.index + 1));
      continue;
    }
    const [name = "", ...path] = match[1].split(/\.|\[|\]\.?/).filter((step, index) => index === 0 || step !== "");
    if (name === "" || /^\d+$/.test(name)) styles.add(name === "" ? "automatic" : "manual");
    if (styles.size > 1) throw new JinjaError("ValueError", "cannot mix manual and automatic field numbering");
    const position = name === "" ? next++ : /^\d+$/.test(name) ? Number(name) : undefined;
    let value = position === undefined ? kwargs.get(name) : args[position];
    for (const step of path) value = value instanceof Dict ? value.getByName(step) : undefined;
    if (value === undefined)
      throw new JinjaError("ValueError", `no argument for the field {${match[1]}} of a format string`);
    const specification = format.slice(end - 1 - (match[3]?.length ?? 0), end - 1);
    parts.push(specified(match[2] === "r" ? repr(value) : value, specification));
  }
  return Text.concat([...parts, format.slice(end)]);
}

function specified(value: Value, specification: Text): Text {
  const match = /^(?:(.)?([<>^]))?(0)?(\d+)?(,)?(?:\.(\d+))?([sdfxXob%])?$/u.exec(specification.value);
  if (match === null) throw new JinjaError("ValueError", `Invalid format specifier '${specification}'`);
  const [, fill, align, zero, width, comma, precision, type] = match;
  const number = asNumber(value);
  let text: Text;
  if (number === undefined || (type === undefined && precision === undefined && comma === undefined)) {
    if (type !== undefined && type !== "s") {
      throw new JinjaError("ValueError", `Unknown format code '${type}' for object of type '${typeName(value)}'`);
    }
    text = str(value);
    if (precision !== undefined) text = Text.concat(text.points().slice(0, Number(precision)));
  } else {
    const base = { x: 16, X: 16, o: 8, b: 2 }[type ?? ""];
    const digits = type === "d" || (type === undefined && precision === undefined) ? undefined : Number(precision ?? 6);
    const shown =
      base !== undefined
        ? number.toString(base)
        : digits === undefined
          ? String(number)
          : (type === "%" ? number * 100 : number).toFixed(digits);
    const grouped = comma
      ? shown.replace(/^(-?)(\d+)/, (_, sign: string, whole: string) => sign + groups(whole))
      : shown;
    text = Text.of(type === "%" ? `${grouped}%` : type === "X" ? grouped.toUpperCase() : grouped);
  }
  const missing = Math.max(Number(width ?? 0) - text.points().length, 0);
  const side = align ?? (number === undefined ? "<" : ">");
  const left = side === "<" ? 0 : side === ">" ? missing : Math.floor(missing / 2);
  const filler = fill === undefined ? Text.of(zero ? "0" : " ") : specification.slice(0, fill.length);
  return Text.concat([filler.repeat(left), text, filler.repeat(missing - left)]);
}

function groups(digits: string): string {
  return digits.replace(/\B(?=(\d{3})+$)/g, ",");
}
