/** What a Go template computes with. Texts know who wrote them: see jinja/text.ts. */
import { Text } from "../jinja/text.js";

export type GoValue = Text | number | boolean | null | readonly GoValue[] | GoObject;

/** A struct or a map: fields under Go's names, and what `json` and printing make of it. */
export class GoObject {
  /** Named in errors, e.g. "Message". */
  readonly kind: string;
  readonly fields: ReadonlyMap<string, GoValue>;
  /** The JSON that Go would write. */
  readonly json: string;
  /** A map answers for a key that it lacks; a struct does not. */
  readonly isMap: boolean;

  constructor(kind: string, fields: ReadonlyMap<string, GoValue>, json: string, isMap = false) {
    this.kind = kind;
    this.fields = fields;
    this.json = json;
    this.isMap = isMap;
  }
}

/** Go's notion of a value that is not empty. */
export function isTrue(value: GoValue): boolean {
  if (value instanceof Text) return value.length > 0;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof GoObject) return !value.isMap || value.fields.size > 0;
  return Boolean(value);
}

/** As `{{ value }}` prints it. What came with the data, and all JSON of it, counts as data. */
export function print(value: GoValue): Text {
  if (value instanceof Text) return value;
  if (value === null) return Text.of("<no value>");
  if (value instanceof GoObject) return Text.fromData(value.json);
  if (Array.isArray(value)) {
    const items = value as readonly GoValue[];
    // Ollama's lists of tools and calls print themselves as JSON; others print as Go's lists do.
    if (items.some((item) => item instanceof GoObject)) return Text.fromData(toJson(items));
    return Text.concat([Text.of("["), Text.of(" ").join(items.map(print)), Text.of("]")]);
  }
  return Text.of(String(value));
}

/** As Go's json.Marshal writes it, which escapes <, > and &. */
export function toJson(value: GoValue): string {
  if (value instanceof GoObject) return value.json;
  if (value instanceof Text) return goJson(value.value);
  if (Array.isArray(value)) return `[${(value as readonly GoValue[]).map(toJson).join(",")}]`;
  return JSON.stringify(value);
}

/** JSON of plain data in Go's spelling. */
export function goJson(value: unknown): string {
  return (JSON.stringify(value) ?? "null").replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Plain JSON data as a value; maps keep their own keys. */
export function fromJson(value: unknown, kind = "map"): GoValue {
  if (typeof value === "string") return Text.fromData(value);
  if (typeof value === "number" || typeof value === "boolean") return value;
  if (Array.isArray(value)) return value.map((item) => fromJson(item, kind));
  if (typeof value !== "object" || value === null) return null;
  const fields = new Map(Object.entries(value).map(([key, item]) => [key, fromJson(item, kind)] as const));
  return new GoObject(kind, fields, goJson(value), true);
}
