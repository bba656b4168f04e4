import type { DType, PlanTensor } from "../native/binding.js";
import { type FileTensor, formatShape } from "./file-tensor.js";
import type { ModelConfig } from "./model-config.js";
import { badFile, unsupported } from "./refuse.js";
import { BLOCK_SHAPES } from "./storage-types.js";
import type { TensorNaming, TensorUse } from "./tensor-names.js";
import { ExpectedTensors, type MatrixShape } from "./tensor-roles.js";

/** How many names a message lists before it says how many more there are. */
const NAMES_IN_MESSAGE = 3;

/**
 * Finds every matrix that the config calls for among the tensors of the files, one plan entry each: stacked experts and fused
 * projections are cut into their matrices, which are rows of the same bytes. Unknown tensors, missing ones, wrong shapes and
 * types that are not computed are refused by name.
 * @param where names the checkpoint in messages.
 * @returns in the order of the forward pass.
 * @throws CheckpointError
 */
export function planTensors(
  config: ModelConfig,
  tensors: readonly FileTensor[],
  naming: TensorNaming,
  where: string,
): PlanTensor[] {
  const expected = new ExpectedTensors(config);
  const byRole = new Map<string, PlanTensor>();
  const unknown: string[] = [];
  for (const tensor of tensors) {
    const use = naming.useOf(tensor.name);
    if (use?.kind === "ignored") continue;
    const pieces = use === undefined ? undefined : piecesOf(use, expected, config);
    if (pieces === undefined) {
      unknown.push(tensor.name);
      continue;
    }
    checkShape(tensor, use!, pieces, where);
    place(tensor, pieces, storageOf(tensor, where), byRole, where);
  }
  if (unknown.length > 0) throw unknownTensors(unknown, config, where);
  return inOrder(expected, byRole, naming, where);
}

/** A matrix inside a tensor of a file. */
interface Piece extends MatrixShape {
  role: string;
}

/** The matrices of a tensor, one after another; undefined where the config has no place for one of them. */
function piecesOf(use: TensorUse, expected: ExpectedTensors, config: ModelConfig): Piece[] | undefined {
  const pieces: Piece[] = [];
  for (const role of rolesOf(use, config)) {
    const shape = expected.shapeOf(role);
    if (shape === undefined) return undefined;
    pieces.push({ role, ...shape });
  }
  return pieces.length === 0 ? undefined : pieces;
}

function* rolesOf(use: TensorUse, config: ModelConfig): Generator<string> {
  if (use.kind === "matrix") yield use.role;
  if (use.kind === "qkv") for (const part of "qkv") yield `layers.${use.layer}.${part}${use.bias ? "_bias" : ""}`;
  if (use.kind === "experts") {
    for (let expert = 0; expert < config.numExperts; expert++) {
      for (const part of use.parts) yield `layers.${use.layer}.experts.${expert}.${part}`;
    }
  }
}

function checkShape(tensor: FileTensor, use: TensorUse, pieces: readonly Piece[], where: string): void {
  const cols = pieces[0]!.cols;
  const rows = pieces.reduce((sum, piece) => sum + piece.rows, 0);
  const isVector = use.kind === "matrix" ? pieces[0]!.rows === 1 : use.kind === "qkv" && use.bias;
  let expected: number[];
  if (use.kind === "experts") {
    const experts = pieces.length / use.parts.length;
    expected = [experts, rows / experts, cols];
  } else if (isVector) {
    expected = [pieces.reduce((sum, piece) => sum + piece.cols, 0)];
  } else {
    expected = [rows, cols];
  }
  // A vector may be written as a matrix of one row: llama.cpp's converter does so for the gate of the shared expert.
  const found = isVector && tensor.shape.length === 2 && tensor.shape[0] === 1 ? tensor.shape.slice(1) : tensor.shape;
  if (found.length !== expected.length || found.some((size, axis) => size !== expected[axis])) {
    throw badFile(
      `Expected tensor ${JSON.stringify(tensor.name)} of ${where} to have shape ${formatShape(expected)}, as the config says, ` +
        `found ${formatShape(tensor.shape)}.`,
    );
  }
}

function storageOf(tensor: FileTensor, where: string): DType {
  const { dtype, name } = tensor.type;
  if (dtype !== undefined) return dtype;
  throw unsupported(
    `Tensor ${JSON.stringify(tensor.name)} of ${where} is stored as ${name}, which moescope does not compute with; it takes F32, ` +
      "F16, BF16 and the block types of ggml.",
  );
}

function place(
  tensor: FileTensor,
  pieces: readonly Piece[],
  dtype: DType,
  byRole: Map<string, PlanTensor>,
  where: string,
): void {
  const block = BLOCK_SHAPES[dtype];
  let offset = tensor.offset;
  for (const { role, rows, cols } of pieces) {
    const other = byRole.get(role);
    if (other !== undefined) {
      throw badFile(
        `Tensors ${JSON.stringify(other.name)} and ${JSON.stringify(tensor.name)} of ${where} are the same matrix (${role}).`,
      );
    }
    byRole.set(role, { role, name: tensor.name, file: tensor.file, offset, dtype, rows, cols });
    offset += (rows * cols * block.bytes) / block.elements;
  }
}

function inOrder(
  expected: ExpectedTensors,
  byRole: ReadonlyMap<string, PlanTensor>,
  naming: TensorNaming,
  where: string,
): PlanTensor[] {
  const ordered: PlanTensor[] = [];
  const missing = new Set<string>();
  for (const role of expected.roles()) {
    const tensor = byRole.get(role);
    if (tensor !== undefined) ordered.push(tensor);
    else missing.add(naming.nameOf(role));
    if (missing.size > NAMES_IN_MESSAGE) break;
  }
  if (missing.size > 0) {
    throw badFile(
      `${where} lacks ${listNames([...missing].slice(0, NAMES_IN_MESSAGE), missing.size > NAMES_IN_MESSAGE)}, which its config ` +
        "calls for.",
    );
  }
  return ordered;
}

const QUANTISED_LAYOUTS: ReadonlyArray<[RegExp, string]> = [
  [/\.(qweight|qzeros|g_idx|scales)$/, "It is quantised by GPTQ or AWQ"],
  [/\.(weight_scale|weight_scale_inv|input_scale)$/, "It is quantised to FP8"],
  [
    /\.(SCB|absmax|quant_map|weight_format|quant_state\.\w+|nested_absmax|nested_quant_map)$/,
    "It is quantised by bitsandbytes",
  ],
  [/\blora_[AB]\b/, "It is a LoRA adapter"],
];

function unknownTensors(names: readonly string[], config: ModelConfig, where: string): Error {
  const layout = QUANTISED_LAYOUTS.find(([pattern]) => names.some((name) => pattern.test(name)));
  const listed = listNames(names.slice(0, NAMES_IN_MESSAGE), names.length > NAMES_IN_MESSAGE);
  if (layout !== undefined) {
    return unsupported(
      `${where} has ${listed}. ${layout[1]}, which is not supported: take the original or a GGUF file.`,
    );
  }
  if (names.some((name) => name.startsWith("rope_f"))) {
    return unsupported(`${where} has ${listed}: rope scaling by stored factors (llama3, longrope) is not supported.`);
  }
  return unsupported(
    `${where} has ${listed}, for which a ${config.architecture} model with this config has no place; computing without ` +
      "them could change its answers.",
  );
}

function listNames(names: readonly string[], more: boolean): string {
  const quoted = names.map((name) => JSON.stringify(name)).join(", ");
  return `${names.length > 1 || more ? "tensors" : "tensor"} ${quoted}${more ? " and others" : ""}`;
}
