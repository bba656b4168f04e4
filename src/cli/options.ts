/** Options that commands share, and the parsers that turn their text into checked values. */

import { type Command, InvalidArgumentError, Option } from "commander";
import type { RopeScalingOverride } from "../checkpoint/rope-scaling.js";
import { DEVICES, type DeviceKind } from "../model/device.js";
import { CACHE_TYPES, type CacheType, type CaptureLevel } from "../native/binding.js";
import type { Capture } from "../router/capture.js";
import { ORIGINS, STANDARD_SEGMENTS } from "../router/schema.js";
import { suggestionFor } from "./suggest.js";

/** What every command that loads a model understands. */
export interface ModelOptions {
  device?: DeviceKind;
  threads?: number;
  ropeScaling?: RopeScalingOverride | null;
  maxContext?: number;
  cacheType?: CacheType;
  precision?: "ref" | "fast";
  kvCacheMib?: number;
  quiet?: boolean;
  /** Of commands with `withIntervene`. */
  intervene?: string;
}

/** Adds the options of `ModelOptions`. */
export function withModelOptions(command: Command): Command {
  return command
    .option(
      "--device <device>",
      "where to compute: auto (a card that can be used, else the CPU), cpu or cuda",
      oneOf(...DEVICES),
    )
    .option("--threads <n>", "threads (default: the cores that are there)", integer(1, 1024))
    .option(
      "--rope-scaling <none|FACTOR[:ORIGINAL]>",
      "YaRN in place of what the model says, e.g. 2:32768; none turns it off",
      ropeScaling,
    )
    .option("--max-context <n>", "context in tokens (default: all that the model can do)", integer(1))
    .option(
      "--cache-type <type>",
      "keys and values in f32 (exact; default on the CPU), bf16 or f16 (half the memory) or q8_0 (about a quarter)",
      oneOf(...CACHE_TYPES),
    )
    .option(
      "--kv-cache-mib <n>",
      "memory for keys and values of all texts and kept prefixes (default: a share of what is free)",
      integer(1),
    )
    .option(
      "--precision <precision>",
      "ref (fp32 on dequantised weights; the CPU alone, and its default) or fast (products in bf16 or 8 bits)",
      oneOf("ref", "fast"),
    )
    .addOption(quietOption());
}

/** Adds --intervene, which `withModel` applies. */
export function withIntervene(command: Command): Command {
  return command.option(
    "--intervene <file|json>",
    'changes to routing, e.g. \'{"kind":"mask","layers":[3],"experts":[5]}\', or a list of them',
  );
}

/** Which rows and layers of a trace are recorded, with the names of `CaptureOptions`. */
export interface CaptureFlags {
  layers?: number[];
  segments?: string[];
  origin?: "prompt" | "generated";
}

/** Adds --layers, --segments and --origin, or with a prefix --PREFIX-layers and so on. */
export function withCaptureFlags(command: Command, prefix = ""): Command {
  return command
    .option(`--${prefix}layers <list>`, "record these layers alone, e.g. 0,4-7 (default: all)", layerList)
    .option(
      `--${prefix}segments <list>`,
      `record these parts of the text alone: ${STANDARD_SEGMENTS.join(", ")} (default: all)`,
      (text) => text.split(",").map((word) => word.trim()),
    )
    .option(`--${prefix}origin <origin>`, "record prompt or generated tokens alone (default: both)", oneOf(...ORIGINS));
}

/** A level with what the flags narrow it to. */
export function captureOf(level: CaptureLevel, { layers, segments, origin }: CaptureFlags): Capture {
  const named = Object.entries({ layers, segments, origin }).filter(([, value]) => value !== undefined);
  return named.length === 0 ? level : { level, ...Object.fromEntries(named) };
}

function layerList(text: string): number[] {
  return text.split(",").flatMap((part) => {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
    if (!(first <= last && last - first < 10_000))
      throw new InvalidArgumentError("Expected layer numbers such as 0,4-7.");
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

export function quietOption(): Option {
  return new Option("--quiet", "no progress and no statistics on stderr");
}

export function jsonOption(what: string): Option {
  return new Option("--json", what);
}

/** A whole number in a range. */
export function integer(low: number, high: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const range = high === Number.MAX_SAFE_INTEGER ? `from ${low} up` : `from ${low} to ${high}`;
  return (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= low && value <= high) return value;
    throw new InvalidArgumentError(`Expected a whole number ${range}.`);
  };
}

/** Whole numbers with commas between them, none twice. */
export function integers(text: string): number[] {
  const values = text.split(",").map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : Number.NaN));
  if (values.every(Number.isSafeInteger) && new Set(values).size === values.length) return values;
  throw new InvalidArgumentError("Expected whole numbers with commas between them, each once, such as 0,3.");
}

/** A finite number in a range. */
export function number(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (value >= low && value <= high) return value;
    throw new InvalidArgumentError(`Expected a number from ${low} to ${high}.`);
  };
}

/** One of a few words. */
export function oneOf<const Word extends string>(...words: Word[]): (text: string) => Word {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return word;
    const near = suggestionFor(text, words);
    throw new InvalidArgumentError(`Expected ${list(words)}${near === undefined ? "" : `; did you mean ${near}?`}`);
  };
}

/** Gathers an option that may come several times. */
export function repeatable(text: string, earlier: readonly string[] = []): string[] {
  return [...earlier, text];
}

function ropeScaling(text: string): RopeScalingOverride | null {
  if (text === "none") return null;
  const match = /^(\d+(?:\.\d+)?)(?::(\d+))?$/.exec(text);
  const factor = Number(match?.[1]);
  if (match === null || !(factor >= 1)) {
    throw new InvalidArgumentError("Expected none, a factor of at least 1, or FACTOR:ORIGINAL such as 2:32768.");
  }
  const original = match[2] === undefined ? {} : { originalMaxPositionEmbeddings: Number(match[2]) };
  return { type: "yarn", factor, ...original };
}

function list(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}
