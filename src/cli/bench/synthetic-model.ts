/**
 * Writes a model with random weights, normal with deviation 0.02, as a GGUF file with the type mix of llama-quantize. Weights are
 * drawn from a pool that is quantised once per type, a block of 256 at a time, so that a file of 10 GB is written at the disk's speed.
 */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { Random } from "../../analysis/random.js";
import type { GgufValue } from "../../checkpoint/gguf-values.js";
import { BLOCK_SHAPES } from "../../checkpoint/storage-types.js";
import { ExpectedTensors } from "../../checkpoint/tensor-roles.js";
import { AbortError, fromSystemError, MoescopeError } from "../../errors.js";
import { loadAddon } from "../../native/addon.js";
import type { DType, PlanTensor } from "../../native/binding.js";
import { type FileType, fileTypeId } from "../../quantize/file-type.js";
import { countValue, textValue } from "../../quantize/gguf-entries.js";
import { GgufWriter, ggufFileBytes, ggufHeader } from "../../quantize/gguf-writer.js";
import { architectureKeys } from "../../quantize/model-keys.js";
import { type OutputTensor, outputTensors } from "../../quantize/output-tensors.js";
import { type ShapeName, SYNTHETIC_SHAPES, type SyntheticShape, syntheticConfig } from "./synthetic-shape.js";
import { syntheticEosId, syntheticTokenizerKeys } from "./synthetic-vocabulary.js";

/** Part of the file's name: another recipe is another file. */
const VERSION = 1;
const SEED = 20_241_111;
const DEVIATION = 0.02;
/** Weights that are drawn at once, and whose order stays as the pool has it. Rows are made of several, so that no two are alike. */
const PIECE_ELEMENTS = 256;
const POOL_ELEMENTS = 1 << 22;
const BUFFER_PIECES = 1 << 15;

export interface WriteOptions {
  signal?: AbortSignal;
  /** `done` and `total` count bytes. */
  onProgress?: (done: number, total: number, tensor: string) => void;
}

/** Folder of the models, in the user's cache. */
export function syntheticFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "moescope", "synthetic");
}

export function syntheticPath(shape: ShapeName, type: FileType): string {
  return join(syntheticFolder(), `${shape}-${type}-v${VERSION}.gguf`);
}

/** The path of a synthetic model, written if it is not there. Throws DISK_FULL before anything is written, AbortError. */
export async function syntheticModel(shape: ShapeName, type: FileType, options: WriteOptions = {}): Promise<string> {
  const path = syntheticPath(shape, type);
  if (existsSync(path)) return path;
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw fromSystemError(error, `make the folder ${dirname(path)}`);
  }
  await writeSyntheticModel(path, SYNTHETIC_SHAPES[shape], type, { ...options, name: `synthetic ${shape}` });
  return path;
}

export function removeSyntheticModel(shape: ShapeName, type: FileType): void {
  rmSync(syntheticPath(shape, type), { force: true });
}

/** Writes the file; it appears whole or not at all. */
export async function writeSyntheticModel(
  path: string,
  shape: SyntheticShape,
  type: FileType,
  { name, signal, onProgress }: WriteOptions & { name: string },
): Promise<void> {
  const tensors = tensorsOf(shape, type);
  const header = ggufHeader(metadataOf(shape, type, name), tensors);
  const total = ggufFileBytes(header, tensors);
  await checkRoom(path, total);
  const weights = new WeightPool();
  const writer = await GgufWriter.create(path, header);
  let done = header.length;
  try {
    for (const tensor of tensors) {
      for (let left = tensor.bytes; left > 0; ) {
        if (signal?.aborted) throw new AbortError();
        const bytes = await weights.take(tensor, left);
        await writer.write(bytes);
        left -= bytes.length;
        done += bytes.length;
        onProgress?.(done, total, tensor.name);
      }
      await writer.endTensor(tensor.bytes);
    }
    await writer.finish();
  } catch (error) {
    await writer.discard();
    throw error;
  }
}

function tensorsOf(shape: SyntheticShape, type: FileType): OutputTensor[] {
  const config = syntheticConfig(shape, syntheticEosId(shape.vocabSize));
  const expected = new ExpectedTensors(config);
  const tensors = Array.from(expected.roles(), (role): PlanTensor => {
    return { role, name: role, file: 0, offset: 0, dtype: "F32", ...expected.shapeOf(role)! };
  });
  return outputTensors({ architecture: "qwen2_moe", config, plan: { tensors } }, type);
}

function metadataOf(shape: SyntheticShape, type: FileType, name: string): Map<string, GgufValue> {
  const config = syntheticConfig(shape, syntheticEosId(shape.vocabSize));
  return new Map([
    ["general.architecture", textValue("qwen2moe")],
    ["general.name", textValue(name)],
    ...architectureKeys({ path: name, architecture: "qwen2_moe", config }, undefined),
    ...syntheticTokenizerKeys(shape.vocabSize),
    ["general.quantization_version", countValue(2)],
    ["general.file_type", countValue(fileTypeId(type))],
  ]);
}

async function checkRoom(path: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path));
  if (bavail * bsize >= bytes) return;
  throw new MoescopeError(
    "DISK_FULL",
    `The synthetic model takes ${bytes} bytes, and ${dirname(path)} has ${bavail * bsize} bytes free.`,
  );
}

/** Random weights in any storage type. */
class WeightPool {
  readonly #random: Random = new Random(SEED);
  readonly #pools: Map<DType, Uint8Array> = new Map();
  #normal: Float32Array | undefined;

  /** The next bytes of a tensor, at most `left`; a view that the next call overwrites. */
  async take({ name, dtype, shape }: OutputTensor, left: number): Promise<Uint8Array> {
    if (name.endsWith("_norm.weight")) return Buffer.from(new Float32Array(shape[0]!).fill(1).buffer);
    const pool = await this.#poolOf(dtype);
    const { elements, bytes } = BLOCK_SHAPES[dtype];
    const pieceBytes = (PIECE_ELEMENTS / elements) * bytes;
    const pieces = Math.min(BUFFER_PIECES, Math.ceil(left / pieceBytes));
    const buffer = Buffer.allocUnsafe(pieces * pieceBytes);
    const source = Buffer.from(pool.buffer, pool.byteOffset, pool.byteLength);
    for (let piece = 0; piece < pieces; piece++) {
      const from = this.#random.below(POOL_ELEMENTS / PIECE_ELEMENTS) * pieceBytes;
      source.copy(buffer, piece * pieceBytes, from, from + pieceBytes);
    }
    return buffer.subarray(0, left);
  }

  async #poolOf(dtype: DType): Promise<Uint8Array> {
    const known = this.#pools.get(dtype);
    if (known !== undefined) return known;
    const addon = loadAddon();
    this.#normal ??= Float32Array.from({ length: POOL_ELEMENTS }, () => DEVIATION * this.#random.normal());
    const source = new Uint8Array(this.#normal.buffer);
    const rows = { from: "F32", source, to: dtype, cols: PIECE_ELEMENTS, firstRow: 0 } as const;
    const pool = await addon.convertRows({ ...rows, threads: addon.availableCores() });
    this.#pools.set(dtype, pool);
    return pool;
  }
}
