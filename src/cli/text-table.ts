/** Numbers and tables for a terminal. */

/** Pads cells to columns, two spaces between; columns named in `right` end flush. */
export function textTable(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

/** "3.2 GiB" */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]}`;
}

/** "57.4 billion", "11.2 million", "9,856" */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} billion`;
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} million` : count.toLocaleString("en-US");
}

/** Numbers as they are printed in tables: at most `digits` significant ones. */
export function formatNumber(value: number, digits: number = 4): string {
  return Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : "n/a";
}
