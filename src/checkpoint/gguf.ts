import { ByteCursor } from "./byte-cursor.js";
import { type FileSource, refusePlaceholder, withFile } from "./file-source.js";
import { countElements, type FileTensor, formatShape } from "./file-tensor.js";
import { decodeUtf8, GgufMetadata } from "./gguf-metadata.js";
import { type GgufValue, readString, readValue } from "./gguf-values.js";
import { badFile, unsupported } from "./refuse.js";
import { describeUnknownGgmlType, ggmlType } from "./storage-types.js";

export const GGUF_MAGIC = "GGUF";
const VERSIONS = [2, 3];
const OLD_MAGICS = ["ggml", "ggmf", "ggjt", "ggla", "lmgg", "fmgg", "tjgg", "algg"];

const MAX_KEYS = 65_536;
const MAX_TENSORS = 1_000_000;
const MAX_METADATA_BYTES = 1 << 29;
const MAX_KEY_BYTES = 65_535;
/** Names take at most 63 bytes and a zero in ggml. */
const MAX_TENSOR_NAME_BYTES = 63;
const MAX_DIMENSIONS = 4;
/** Key of one byte, type, value of one byte. */
const MIN_PAIR_BYTES = 8 + 1 + 4 + 1;
/** Empty name, no dimensions, type, offset. */
const MIN_TENSOR_BYTES = 8 + 4 + 4 + 8;
const DEFAULT_ALIGNMENT = 32;
const MAX_ALIGNMENT = 65_536;

/** The header of one GGUF file. */
export interface GgufHeader {
  version: number;
  metadata: GgufMetadata;
  /** In order of their data; `file` is 0. */
  tensors: FileTensor[];
}

/**
 * Reads and checks the header of a GGUF file, version 2 or 3, piece by piece; the data of tensors is never touched. Counts and
 * lengths are checked against what is left of the file before anything is allocated, keys and tensor names are unique, and
 * every tensor lies where the tensors before it end (ggml demands the same) and inside the file.
 * Format: ggml `docs/gguf.md`.
 * @throws CheckpointError
 */
export function readGgufHeader(path: string): GgufHeader {
  return withFile(path, (source) => {
    refusePlaceholder(source);
    const cursor = new ByteCursor(source);
    const version = readVersion(source, cursor);
    const numTensors = cursor.count("the number of tensors", MIN_TENSOR_BYTES, MAX_TENSORS);
    const numKeys = cursor.count("the number of keys", MIN_PAIR_BYTES, MAX_KEYS);
    const metadata = readMetadata(cursor, numKeys, path);
    const tensors = readTensors(cursor, numTensors, metadata, path);
    checkPlaces(source, tensors);
    return { version, metadata, tensors };
  });
}

function readVersion(source: FileSource, cursor: ByteCursor): number {
  const magic = Buffer.from(cursor.bytes(Math.min(GGUF_MAGIC.length, source.sizeBytes), "the magic")).toString(
    "latin1",
  );
  if (OLD_MAGICS.includes(magic)) {
    throw unsupported(
      `${source.path} is in a format from before GGUF (${magic}): convert it with the tools of its time.`,
    );
  }
  if (magic !== GGUF_MAGIC) {
    throw badFile(`Expected a GGUF file at ${source.path}, whose first bytes are ${JSON.stringify(magic)}.`);
  }
  const version = cursor.u32("the version");
  if ((version & 0xffff) === 0 && version !== 0) {
    throw unsupported(`${source.path} is a big-endian GGUF file; only little-endian ones are supported.`);
  }
  if (!VERSIONS.includes(version)) {
    throw unsupported(`Expected GGUF version 2 or 3 in ${source.path}, found ${version}.`);
  }
  return version;
}

function readMetadata(cursor: ByteCursor, numKeys: number, path: string): GgufMetadata {
  const values = new Map<string, GgufValue>();
  for (let index = 0; index < numKeys; index++) {
    const key = decodeUtf8(readString(cursor, MAX_KEY_BYTES, `key ${index}`), `key ${index}`, path);
    if (key === "") throw badFile(`Key ${index} of ${path} is empty.`);
    if (values.has(key)) throw badFile(`Key ${JSON.stringify(key)} is in ${path} twice.`);
    values.set(key, readValue(cursor, key, path));
    if (cursor.position > MAX_METADATA_BYTES) {
      throw badFile(`The metadata of ${path} takes more than ${MAX_METADATA_BYTES} bytes, far beyond any tokenizer.`);
    }
  }
  return new GgufMetadata(path, values);
}

function readTensors(cursor: ByteCursor, numTensors: number, metadata: GgufMetadata, path: string): FileTensor[] {
  const alignment = readAlignment(metadata);
  const tensors: FileTensor[] = [];
  const names = new Set<string>();
  let expectedOffset = 0;
  for (let index = 0; index < numTensors; index++) {
    const { tensor, offset } = readTensor(cursor, index, path);
    if (names.has(tensor.name)) throw badFile(`Tensor ${JSON.stringify(tensor.name)} is in ${path} twice.`);
    names.add(tensor.name);
    if (offset !== BigInt(expectedOffset)) {
      throw badFile(
        `Expected tensor ${JSON.stringify(tensor.name)} of ${path} at byte ${expectedOffset} of the data, right after the one ` +
          `before, found it at ${offset}.`,
      );
    }
    tensor.offset = expectedOffset;
    expectedOffset = roundUp(expectedOffset + tensor.sizeBytes, alignment);
    if (!Number.isSafeInteger(expectedOffset))
      throw badFile(`The tensors of ${path} together are larger than any file.`);
    tensors.push(tensor);
  }
  const dataStart = roundUp(cursor.position, alignment);
  for (const tensor of tensors) tensor.offset += dataStart;
  return tensors;
}

function readAlignment(metadata: GgufMetadata): number {
  const alignment = metadata.integer("general.alignment") ?? DEFAULT_ALIGNMENT;
  const isPowerOfTwo = alignment > 0 && Number.isInteger(Math.log2(alignment));
  if (!isPowerOfTwo || alignment > MAX_ALIGNMENT) {
    throw badFile(
      `Expected a power of two up to ${MAX_ALIGNMENT} for general.alignment in ${metadata.path}, found ${alignment}.`,
    );
  }
  return alignment;
}

/** One tensor; its place in the data is still to be checked. */
function readTensor(cursor: ByteCursor, index: number, path: string): { tensor: FileTensor; offset: bigint } {
  const what = `tensor ${index}`;
  const name = decodeUtf8(
    readString(cursor, MAX_TENSOR_NAME_BYTES, `the name of ${what}`),
    `the name of ${what}`,
    path,
  );
  const where = `tensor ${JSON.stringify(name)} of ${path}`;
  const numDimensions = cursor.u32(`the dimensions of ${what}`);
  if (numDimensions > MAX_DIMENSIONS) {
    throw badFile(`Expected at most ${MAX_DIMENSIONS} dimensions for ${where}, found ${numDimensions}.`);
  }
  const sizes: number[] = [];
  for (let axis = 0; axis < numDimensions; axis++) sizes.push(Number(cursor.u64(`the dimensions of ${what}`)));
  const typeId = cursor.u32(`the type of ${what}`);
  const offset = cursor.u64(`the offset of ${what}`);

  const type = ggmlType(typeId);
  if (type === undefined) {
    throw unsupported(`The type of ${where} is ${describeUnknownGgmlType(typeId)}.`);
  }
  const shape = sizes.toReversed();
  const elements = countElements(shape);
  const sizeBytes = elements === undefined ? Number.NaN : (elements / type.elements) * type.bytes;
  if (elements === undefined || !(sizeBytes <= Number.MAX_SAFE_INTEGER)) {
    throw badFile(`Shape ${formatShape(shape)} of ${where} is larger than any file.`);
  }
  if ((sizes[0] ?? 1) % type.elements !== 0) {
    throw badFile(
      `Expected rows of ${where} to be whole blocks of ${type.elements} elements, as ${type.name} packs them, found rows of ` +
        `${sizes[0] ?? 1}.`,
    );
  }
  return { tensor: { name, type, shape, file: 0, offset: 0, sizeBytes }, offset };
}

function checkPlaces(source: FileSource, tensors: readonly FileTensor[]): void {
  for (const tensor of tensors) {
    const end = tensor.offset + tensor.sizeBytes;
    if (end > source.sizeBytes) {
      throw badFile(
        `${source.path} ends at byte ${source.sizeBytes}, before the end of tensor ${JSON.stringify(tensor.name)} (${end}): the ` +
          "download is incomplete.",
      );
    }
  }
}

function roundUp(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}
