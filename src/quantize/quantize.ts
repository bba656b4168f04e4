/** Writes a model as one GGUF file in which weights take less room: tensor by tensor, in bounded memory. */

import { existsSync, realpathSync, statSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { withProgress } from "../ambient-progress.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import { FileSource } from "../checkpoint/file-source.js";
import type { GgufValue } from "../checkpoint/gguf-values.js";
import { BLOCK_SHAPES } from "../checkpoint/storage-types.js";
import { AbortError, CheckpointError, fromSystemError, invalidArgument, MoescopeError } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import type { DType, PlanTensor } from "../native/binding.js";
import { FILE_TYPE_NAMES, type FileType } from "./file-type.js";
import { GgufWriter, ggufFileBytes, ggufHeader } from "./gguf-writer.js";
import { interleaveHalves } from "./interleave.js";
import { ggufMetadata } from "./metadata.js";
import { type OutputTensor, outputTensors } from "./output-tensors.js";

/** Weights that are read, fitted and written at once; what bounds the memory. */
const CHUNK_ELEMENTS = 1 << 22;

export interface QuantizeOptions {
  type: FileType;
  /** Default: the cores that are there. The bytes do not depend on it. */
  threads?: number;
  /** Decide everything and write nothing. */
  dryRun?: boolean;
  signal?: AbortSignal;
  /** `done` and `total` count weights; `name` is the tensor in hand. */
  onProgress?: (done: number, total: number, name: string) => void;
}

/** What was, or would be, written. */
export interface QuantizeReport {
  /** Null after a dry run without a place to write to. */
  path: string | null;
  type: FileType;
  architecture: string;
  written: boolean;
  fileBytes: number;
  parameters: number;
  /** Of all tensors together. */
  bitsPerWeight: number;
  tensors: { name: string; dtype: DType; shape: number[]; bytes: number; from: DType }[];
  /** What the file says or holds less well than the model, in sentences. */
  warnings: string[];
}

/**
 * Quantises a model that `openCheckpoint` reads to a GGUF file. Matrices take the types that llama.cpp's `llama-quantize` would
 * choose without an importance matrix; norms, biases and routers stay F32. The file appears whole or not at all.
 * Throws CheckpointError for a model that cannot be read or that GGUF cannot hold, and for a weight that is not finite (naming
 * its tensor); INVALID_ARGUMENT, DISK_FULL, NO_PERMISSION, NOT_FOUND for the place; AbortError.
 */
export async function quantizeModel(
  model: string,
  out: string | null,
  options: QuantizeOptions,
): Promise<QuantizeReport> {
  const { type, dryRun = false } = options;
  if (!FILE_TYPE_NAMES.includes(type)) throw invalidArgument("type", `one of ${FILE_TYPE_NAMES.join(", ")}`, type);
  if (out === null && !dryRun) throw invalidArgument("out", "the path of a file to write", out);
  const checkpoint = await openCheckpoint(model);
  const tensors = outputTensors(checkpoint, type);
  const metadata = await ggufMetadata(checkpoint, type);
  const header = ggufHeader(metadata, tensors);
  const path = out === null ? null : resolve(out);
  const warnings = [...quantisedAgain(tensors), ...endsWithoutPlace(checkpoint, metadata)];
  const report = { ...reportOf(checkpoint, type, tensors), path, fileBytes: ggufFileBytes(header, tensors), warnings };
  if (path !== null) await checkPlace(path, checkpoint, report.fileBytes);
  if (dryRun || path === null) return report;
  await withProgress(
    options.onProgress,
    { label: "quantize", unit: "weights", move: (bar, done, total, name) => bar.update(done, total, name) },
    (onProgress) => writeFile(path, header, tensors, checkpoint, { ...options, onProgress }),
  );
  return { ...report, written: true };
}

function* quantisedAgain(tensors: readonly OutputTensor[]): Generator<string> {
  const again = tensors.find(
    ({ dtype, pieces }) => BLOCK_SHAPES[pieces[0]!.dtype].elements > 1 && pieces[0]!.dtype !== dtype,
  );
  if (again === undefined) return;
  yield `The weights are quantised already (${again.name}: ${again.pieces[0]!.dtype}): the new error comes on top of the old.`;
}

/** A model may end its texts with more tokens than GGUF has keys for. */
function* endsWithoutPlace({ config }: Checkpoint, metadata: ReadonlyMap<string, GgufValue>): Generator<string> {
  const kept = ["eos", "eot", "eom"].map((name) => metadata.get(`tokenizer.ggml.${name}_token_id`)?.value);
  const lost = config.eosTokenIds.filter((id) => !kept.some((value) => Number(value) === id));
  if (lost.length > 0) {
    yield `GGUF has a place for three tokens that end a text; the file does not name ${lost.join(", ")}, which do so too.`;
  }
}

function reportOf(
  checkpoint: Checkpoint,
  type: FileType,
  tensors: readonly OutputTensor[],
): Omit<QuantizeReport, "path" | "fileBytes" | "warnings"> {
  const elements = tensors.reduce((sum, { shape }) => sum + product(shape), 0);
  const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  return {
    type,
    architecture: checkpoint.architecture,
    written: false,
    parameters: elements,
    bitsPerWeight: (8 * bytes) / elements,
    tensors: tensors.map(({ name, dtype, shape, bytes, pieces }) => ({
      name,
      dtype,
      shape,
      bytes,
      from: pieces[0]!.dtype,
    })),
  };
}

function product(shape: readonly number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}

/** Refuses a place before hours of work are put into it. */
async function checkPlace(path: string, { plan }: Checkpoint, bytes: number): Promise<void> {
  const folder = dirname(path);
  try {
    if (existsSync(path) && statSync(path).isDirectory()) throw invalidArgument("out", "a file to write", path);
    const real = existsSync(path) ? realpathSync(path) : null;
    if (real !== null && plan.files.some((file) => realpathSync(file) === real)) {
      throw invalidArgument("out", "another file than the model itself", path);
    }
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize >= bytes) return;
    throw new MoescopeError(
      "DISK_FULL",
      `The file takes ${bytes} bytes, and ${folder} has ${bavail * bsize} bytes free.`,
    );
  } catch (error) {
    throw fromSystemError(error, `write ${path}`);
  }
}

async function writeFile(
  path: string,
  header: Buffer,
  tensors: readonly OutputTensor[],
  { plan }: Checkpoint,
  options: QuantizeOptions,
): Promise<void> {
  const sources = new Map<number, FileSource>();
  const sourceOf = (file: number): FileSource => {
    const source = sources.get(file) ?? new FileSource(plan.files[file]!);
    sources.set(file, source);
    return source;
  };
  const total = tensors.reduce((sum, { shape }) => sum + product(shape), 0);
  let done = 0;
  const writer = await GgufWriter.create(path, header);
  try {
    for (const tensor of tensors) {
      for (const chunk of chunksOf(tensor)) {
        if (options.signal?.aborted) throw new AbortError();
        await writer.write(await convert(tensor, chunk, sourceOf(chunk.piece.file), options.threads));
        done += chunk.rows * chunk.piece.cols;
        options.onProgress?.(done, total, tensor.name);
      }
      await writer.endTensor(tensor.bytes);
    }
    await writer.finish();
  } catch (error) {
    await writer.discard();
    throw error;
  } finally {
    for (const source of sources.values()) source.close();
  }
}

/** Rows of one matrix. */
interface Chunk {
  piece: PlanTensor;
  firstRow: number;
  rows: number;
}

/** Whole rows, and whole heads where their rows change places. */
function* chunksOf({ pieces, interleave }: OutputTensor): Generator<Chunk> {
  for (const piece of pieces) {
    const unit = Math.max(1, interleave);
    const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / piece.cols / unit)) * unit;
    for (let firstRow = 0; firstRow < piece.rows; firstRow += step) {
      yield { piece, firstRow, rows: Math.min(step, piece.rows - firstRow) };
    }
  }
}

async function convert(
  tensor: OutputTensor,
  { piece, firstRow, rows }: Chunk,
  file: FileSource,
  threads: number | undefined,
): Promise<Uint8Array> {
  const { elements, bytes } = BLOCK_SHAPES[piece.dtype];
  const rowBytes = (piece.cols / elements) * bytes;
  const read = file.read(piece.offset + firstRow * rowBytes, rows * rowBytes);
  const source = tensor.interleave === 0 ? read : interleaveHalves(read, rowBytes, tensor.interleave);
  try {
    return await loadAddon().convertRows({
      from: piece.dtype,
      source,
      to: tensor.dtype,
      cols: piece.cols,
      firstRow,
      threads: threads ?? Math.min(availableParallelism(), loadAddon().availableCores()),
    });
  } catch (error) {
    if (!(error instanceof Error) || (error as { code?: unknown }).code !== "BAD_FILE") throw error;
    const where = `tensor ${JSON.stringify(piece.name)} (${piece.role}) of ${file.path}`;
    throw new CheckpointError("BAD_FILE", `${error.message.replace(/\.$/, "")} of ${where}.`, { cause: error });
  }
}
