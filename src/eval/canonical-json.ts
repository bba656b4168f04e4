import { createHash } from "node:crypto";

/**
 * JSON with one spelling for one value: keys sorted, no spaces, undefined fields left out. Numbers that JSON lacks become the
 * strings "NaN", "Infinity" and "-Infinity". Digests and comparisons of runs rest on it.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) => {
    if (typeof field === "number" && !Number.isFinite(field)) return String(field);
    if (typeof field !== "object" || field === null || Array.isArray(field)) return field;
    const sorted = Object.entries(field).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return Object.fromEntries(sorted);
  });
}

/** SHA-256 of a text's UTF-8 bytes, in hex. */
export function sha256(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}
