import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { checkTokenizerJson, parseJsonObject, type TokenizerJson } from "../../src/tokenizer/tokenizer-json.js";

/** The shared folder of outside outputs; a checkout without it skips the tests that compare with them. */
export const SHARED: string = process.env.MOESCOPE_SHARED ?? fileURLToPath(new URL("../../../shared", import.meta.url));
export const GOLDEN: string = `${SHARED}/golden/tokenizer`;
export const MISSING: string | false = existsSync(GOLDEN)
  ? false
  : `no ${GOLDEN}: set MOESCOPE_SHARED to the folder that holds golden/`;

export function readJsonl<Row>(path: string): Row[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Row);
}

export function readTokenizerJson(path: string): TokenizerJson {
  return checkTokenizerJson(parseJsonObject(readFileSync(path, "utf8"), path), path);
}

/** Ids as the goldens store them: a list, or [[id, count], ...]. */
export function expectedIds(row: { ids?: number[]; ids_rle?: [number, number][] }): number[] {
  return row.ids ?? row.ids_rle!.flatMap(([id, count]) => new Array<number>(count).fill(id));
}

export interface EncodeRow {
  id: string;
  tags: string[];
  text?: string;
  gen?: { prefix?: string; unit: string; repeat: number; suffix?: string };
  cases: {
    add_special: boolean;
    parse_special: boolean;
    space_after_special?: boolean;
    ids?: number[];
    ids_rle?: [number, number][];
  }[];
  decoded?: "same" | "nfc" | "space+same";
  decoded_text?: string;
  decoded_skip_special?: string;
}

export function textOf(row: EncodeRow): string {
  if (row.text !== undefined) return row.text;
  const { prefix = "", unit, repeat, suffix = "" } = row.gen!;
  return prefix + unit.repeat(repeat) + suffix;
}
