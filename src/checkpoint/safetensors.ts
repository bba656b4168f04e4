import { describe } from "../errors.js";
import { type FileSource, refusePlaceholder, withFile } from "./file-source.js";
import { countElements, type FileTensor, formatShape } from "./file-tensor.js";
import { badFile } from "./refuse.js";
import { safetensorsType } from "./storage-types.js";
import { type JsonObject, type JsonValue, parseStrictJson } from "./strict-json.js";

/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_DEPTH = 8;
const LENGTH_BYTES = 8;

/** The header of one safetensors file. */
export interface SafetensorsHeader {
  /** In order of their data; `file` is 0. */
  tensors: FileTensor[];
  /** The free text that the writer left under `__metadata__`. */
  metadata: Record<string, string>;
}

/**
 * Reads and checks the header of a safetensors file; its data is never touched. The rules are those of the reference
 * implementation (safetensors 0.8, `src/tensor.rs`): the ranges of the tensors must tile the data with no hole, no overlap and
 * nothing left over, so a file that was cut short is refused here.
 * @throws CheckpointError
 */
export function readSafetensorsHeader(path: string): SafetensorsHeader {
  return withFile(path, (source) => {
    refusePlaceholder(source);
    const headerBytes = readHeaderLength(source);
    const header = parseStrictJson(source.read(LENGTH_BYTES, headerBytes), {
      source: path,
      maxDepth: MAX_DEPTH,
      numbers: "integers",
    });
    if (!isObject(header)) throw badFile(`Expected a JSON object as the header of ${path}, found ${describe(header)}.`);
    const metadata = readMetadata(path, header.__metadata__);
    const dataStart = LENGTH_BYTES + headerBytes;
    const tensors: FileTensor[] = [];
    for (const name in header) {
      if (name !== "__metadata__") tensors.push(readEntry(path, name, header[name]!, dataStart));
    }
    // Empty tensors sort before the one that starts where they stand.
    tensors.sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes);
    checkTiling(source, tensors, dataStart);
    return { tensors, metadata };
  });
}

function readHeaderLength(source: FileSource): number {
  if (source.sizeBytes < LENGTH_BYTES) {
    throw badFile(`Expected a safetensors file, found ${source.sizeBytes} bytes in ${source.path}.`);
  }
  const length = source.read(0, LENGTH_BYTES).readBigUInt64LE();
  if (length > MAX_HEADER_BYTES) {
    throw badFile(
      `Expected a safetensors header of at most ${MAX_HEADER_BYTES} bytes in ${source.path}, its first 8 bytes say ${length}: ` +
        "this is no safetensors file, or it is corrupt.",
    );
  }
  const available = source.sizeBytes - LENGTH_BYTES;
  if (length > available) {
    throw badFile(
      `${source.path} ends inside its header (${length} bytes announced, ${available} there): the download is incomplete.`,
    );
  }
  return Number(length);
}

/** Fields that the format does not have are passed over, as the reference implementation does. */
function readEntry(path: string, name: string, entry: JsonValue, dataStart: number): FileTensor {
  const where = `of tensor ${JSON.stringify(name)} in ${path}`;
  if (!isObject(entry)) throw badFile(`Expected an object as entry ${where}, found ${describe(entry)}.`);
  const { dtype, shape, data_offsets: offsets } = entry;
  const type = typeof dtype === "string" ? safetensorsType(dtype) : undefined;
  if (type === undefined)
    throw badFile(`Expected a dtype of the safetensors format ${where}, found ${describe(dtype)}.`);
  if (!isNumbers(shape)) throw badFile(`Expected a list of sizes as shape ${where}, found ${describe(shape)}.`);
  if (!isNumbers(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw badFile(`Expected data_offsets [begin, end] ${where}, found ${JSON.stringify(offsets) ?? "none"}.`);
  }
  const [begin, end] = offsets as [number, number];
  const elements = countElements(shape);
  if (elements === undefined || (elements / type.elements) * type.bytes !== end - begin) {
    throw badFile(
      `Shape ${formatShape(shape)} of ${type.name} does not take the ${end - begin} bytes of data_offsets ${where}.`,
    );
  }
  return { name, type, shape, file: 0, offset: dataStart + begin, sizeBytes: end - begin };
}

function checkTiling(source: FileSource, tensors: readonly FileTensor[], dataStart: number): void {
  let position = dataStart;
  for (const tensor of tensors) {
    if (tensor.offset !== position) {
      const fault = tensor.offset > position ? "leaves a hole before" : "overlaps the tensor before";
      throw badFile(
        `Data of tensor ${JSON.stringify(tensor.name)} in ${source.path} ${fault} it: expected it to begin at byte ` +
          `${position - dataStart} of the data, it begins at ${tensor.offset - dataStart}.`,
      );
    }
    position += tensor.sizeBytes;
  }
  if (position > source.sizeBytes) {
    throw badFile(
      `${source.path} is ${position - source.sizeBytes} bytes shorter than its header says (${position}): the download is ` +
        "incomplete.",
    );
  }
  if (position < source.sizeBytes) {
    throw badFile(
      `${source.path} has ${source.sizeBytes - position} bytes after its last tensor: the file is corrupt.`,
    );
  }
}

function readMetadata(path: string, value: JsonValue | undefined): Record<string, string> {
  if (value === undefined) return {};
  if (!isObject(value)) throw badFile(`Expected __metadata__ of ${path} to be an object, found ${describe(value)}.`);
  for (const key in value) {
    if (typeof value[key] !== "string") {
      throw badFile(`Expected text as __metadata__ ${JSON.stringify(key)} of ${path}, found ${describe(value[key])}.`);
    }
  }
  return value as Record<string, string>;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumbers(value: JsonValue | undefined): value is number[] {
  return Array.isArray(value) && value.every((item) => typeof item === "number");
}
