import { readFileSync } from "node:fs";
import { checkTokenizerJson, parseJsonObject, type TokenizerJson } from "../../src/tokenizer/tokenizer-json.js";
import { sharedPath } from "../golden/shared.js";

export const SHARED: string = sharedPath();
export const GOLDEN: string = sharedPath("golden", "tokenizer");

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
