/** Arrow tables and arrays of objects as text and as HTML, a page at a time. */
import type { Table } from "apache-arrow";
import { invalidArgument } from "../../errors.js";
import { escapeHtml } from "./html.js";
import type { ShowOptions } from "./show.js";

type Row = Readonly<Record<string, unknown>>;

/** A wider table is no longer read; the rest is counted. */
const MOST_COLUMNS = 24;
const MOST_CHARACTERS = 80;
const MOST_ELEMENTS = 8;

/** A table whose rows are made when they are asked for: an Arrow table may have millions. */
interface Rows {
  numRows: number;
  columns: readonly { name: string; type: string }[];
  value(row: number, column: string): unknown;
}

export function isTableLike(value: unknown): value is Table | readonly Row[] {
  if (Array.isArray(value)) {
    const isRow = (row: unknown) => typeof row === "object" && row !== null && !Array.isArray(row);
    return value.length > 0 && value.every(isRow);
  }
  return typeof value === "object" && value !== null && "numRows" in value && "schema" in value && "getChild" in value;
}

export function tableBundle(value: Table | readonly Row[], options: ShowOptions = {}): Record<string, unknown> {
  const table = "schema" in value ? rowsOfArrow(value) : rowsOfObjects(value);
  const { rows = 20, from = 0, title } = options;
  const order = sorted(table, options.sort);
  const columns = table.columns.slice(0, MOST_COLUMNS);
  const last = Math.min(from + rows, table.numRows);
  const page = Array.from({ length: Math.max(0, last - from) }, (_, i) => {
    const row = order?.[from + i] ?? from + i;
    return columns.map(({ name }) => cellText(table.value(row, name)));
  });
  const note = noteOf(table, from, last);
  return { "text/plain": textTable(columns, page, note, title), "text/html": htmlTable(columns, page, note, title) };
}

function rowsOfArrow(table: Table): Rows {
  const columns = table.schema.fields.map(({ name, type }) => ({ name, type: String(type) }));
  return { numRows: table.numRows, columns, value: (row, column) => table.getChild(column)?.get(row) };
}

function rowsOfObjects(rows: readonly Row[]): Rows {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const typeOf = (name: string): string => {
    const types = new Set(rows.map((row) => typeName(row[name])).filter((type) => type !== ""));
    return [...types].join(" | ");
  };
  const columns = names.map((name) => ({ name, type: typeOf(name) }));
  return { numRows: rows.length, columns, value: (row, column) => rows[row]![column] };
}

function typeName(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return "list";
  return typeof value === "object" ? value.constructor.name.toLowerCase() : typeof value;
}

/** Row numbers in the order asked for, or undefined where it is that of the table. */
function sorted(table: Rows, sort: string | undefined): number[] | undefined {
  if (sort === undefined) return undefined;
  const isKnown = (name: string) => table.columns.some((column) => column.name === name);
  const isDescending = !isKnown(sort) && sort.startsWith("-");
  const name = isDescending ? sort.slice(1) : sort;
  if (!isKnown(name)) {
    throw invalidArgument("sort", `one of the columns ${table.columns.map((column) => column.name).join(", ")}`, sort);
  }
  const values = Array.from({ length: table.numRows }, (_, row) => table.value(row, name));
  const isMissing = (value: unknown) => value === null || value === undefined || Number.isNaN(value);
  return values
    .map((_, row) => row)
    .sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (isMissing(x) || isMissing(y)) return Number(isMissing(x)) - Number(isMissing(y)) || a - b;
      const isLess = (x as number) < (y as number);
      const order = isLess ? -1 : Number((x as number) > (y as number));
      return (isDescending ? -order : order) || a - b;
    });
}

/** Four significant digits, whole numbers whole; long texts and lists cut with their length. */
function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return numberText(value);
  if (typeof value === "string") {
    const text = JSON.stringify(value).slice(1, -1).replaceAll('\\"', '"');
    return text.length <= MOST_CHARACTERS
      ? text
      : `${text.slice(0, MOST_CHARACTERS)}… (${value.length.toLocaleString("en")} characters)`;
  }
  if (typeof value !== "object") return String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "invalid date" : value.toISOString();
  if (Symbol.iterator in value) {
    const shown: string[] = [];
    let length = 0;
    for (const element of value as Iterable<unknown>) if (length++ < MOST_ELEMENTS) shown.push(cellText(element));
    return length <= MOST_ELEMENTS ? `[${shown.join(", ")}]` : `[${shown.join(", ")}, … (${length})]`;
  }
  const fields = Object.entries(value).slice(0, MOST_ELEMENTS);
  return fields.map(([key, inner]) => `${key} ${typeof inner === "object" ? "…" : cellText(inner)}`).join(", ");
}

function numberText(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

function noteOf({ numRows, columns }: Rows, from: number, last: number): string {
  const count = numRows.toLocaleString("en");
  const rows = last - from === numRows ? `${count} rows` : `rows ${from} to ${Math.max(from, last - 1)} of ${count}`;
  const more = last < numRows && last > from ? ` (from: ${last} shows the next)` : "";
  const cut = columns.length - MOST_COLUMNS;
  return cut > 0 ? `${rows}${more}; ${cut} of ${columns.length} columns are not shown` : `${rows}${more}`;
}

type Columns = Rows["columns"];

function isNumeric({ type }: Columns[number]): boolean {
  return /^(number|bigint|u?int\d|float\d|decimal)/i.test(type);
}

function textTable(columns: Columns, page: readonly string[][], note: string, title?: string): string {
  const head = [columns.map(({ name }) => name), columns.map(({ type }) => type)];
  const widths = columns.map((_, c) => Math.max(...[...head, ...page].map((row) => row[c]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, c) => (isNumeric(columns[c]!) ? cell.padStart(widths[c]!) : cell.padEnd(widths[c]!)))
      .join("  ")
      .trimEnd();
  return [...(title === undefined ? [] : [title]), ...[...head, ...page].map(line), note].join("\n");
}

function htmlTable(columns: Columns, page: readonly string[][], note: string, title?: string): string {
  const align = (c: number) => (isNumeric(columns[c]!) ? "right" : "left");
  const cell = (text: string, c: number) =>
    `<td style="text-align:${align(c)};white-space:nowrap">${escapeHtml(text)}</td>`;
  const head = columns.map(({ name, type }, c) => {
    const small = `<br><small style="font-weight:normal">${escapeHtml(type)}</small>`;
    return `<th style="text-align:${align(c)}">${escapeHtml(name)}${small}</th>`;
  });
  const caption = title === undefined ? "" : `<b>${escapeHtml(title)}</b>`;
  const body = page.map((row) => `<tr>${row.map(cell).join("")}</tr>`).join("\n");
  return `${caption}<div style="overflow-x:auto"><table><thead><tr>${head.join("")}</tr></thead><tbody>\n${body}\n</tbody></table></div><small>${escapeHtml(note)}</small>`;
}
