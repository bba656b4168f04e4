import type { GgufMetadata } from "./gguf-metadata.js";
import { unsupportedArchitecture } from "./hf-config.js";
import type { Architecture } from "./model-config.js";
import { badFile, unsupported } from "./refuse.js";

/** GGUF's words for our architectures. */
const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  ["qwen2moe", "qwen2_moe"],
  ["qwen2", "qwen2"],
  ["llama", "llama"],
]);

/** Sizes are 32-bit integers. */
const MAX_SIZE = 2 ** 31 - 1;

/** The keys of the file's own architecture, by name without the prefix. */
export class ArchitectureKeys {
  /** GGUF's word. */
  readonly architecture: string;
  /** Ours; `llama` for Mixtral too. */
  readonly family: Architecture;
  readonly metadata: GgufMetadata;

  /** @throws CheckpointError for files that are no model of ours */
  constructor(metadata: GgufMetadata) {
    const kind = metadata.text("general.type") ?? "model";
    if (kind !== "model")
      throw unsupported(`Expected a model in ${metadata.path}, its general.type is ${JSON.stringify(kind)}.`);
    const architecture = metadata.text("general.architecture");
    if (architecture === undefined) throw badFile(`${metadata.path} states no general.architecture.`);
    const family = ARCHITECTURES.get(architecture);
    if (family === undefined) throw unsupportedArchitecture(architecture, metadata.path);
    this.architecture = architecture;
    this.family = family;
    this.metadata = metadata;
  }

  /** The whole key. */
  name(key: string): string {
    return `${this.architecture}.${key}`;
  }

  /** Says that a key is not there. @throws CheckpointError */
  missing(key: string): never {
    throw badFile(`${this.metadata.path} states no ${this.name(key)}.`);
  }

  /** A whole number that must be there. @throws CheckpointError */
  required(key: string): number {
    return this.integer(key, undefined) ?? this.missing(key);
  }

  /** A whole number from `min` up. @throws CheckpointError */
  integer<T extends number | undefined>(key: string, fallback: T, min: number = 1): number | T {
    const value = this.metadata.integer(this.name(key));
    if (value === undefined) return fallback;
    return this.#checked(key, value, min);
  }

  /** A number that may also be given once per layer, if it is the same for all. @throws CheckpointError */
  perLayer(key: string): number | undefined {
    const name = this.name(key);
    if (this.metadata.get(name)?.type !== "array") return this.integer(key, undefined);
    const values = Array.from(this.metadata.numbers(name, "integers")!, Number);
    const [first] = values;
    if (first === undefined) throw badFile(`${name} in ${this.metadata.path} is an empty array.`);
    const other = values.find((value) => value !== first);
    if (other !== undefined) {
      throw unsupported(
        `${name} in ${this.metadata.path} differs between layers (${first} and ${other}), which is not supported.`,
      );
    }
    return this.#checked(key, first, 1);
  }

  /** @throws CheckpointError */
  float(key: string): number | undefined {
    return this.metadata.float(this.name(key));
  }

  #checked(key: string, value: number, min: number): number {
    if (value < min || value > MAX_SIZE) {
      throw badFile(`Expected ${min} to ${MAX_SIZE} for ${this.name(key)} in ${this.metadata.path}, found ${value}.`);
    }
    return value;
  }
}
