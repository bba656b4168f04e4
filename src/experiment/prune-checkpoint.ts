/** A checkpoint without some of its experts, as a folder that transformers and moescope load. */

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { withFile } from "../checkpoint/file-source.js";
import { type TensorToWrite, writeSafetensors } from "../checkpoint/safetensors-writer.js";
import { sumBytes } from "../checkpoint/storage-types.js";
import { hfNaming } from "../checkpoint/tensor-names.js";
import { fromSystemError, InvalidArgumentError, MoescopeError } from "../errors.js";
import type { PlanTensor } from "../native/binding.js";
import type { ExpertSlot } from "./expert-slots.js";

const EXPERT = /^layers\.(\d+)\.experts\.(\d+)\.(.+)$/;
const ROUTER = /^layers\.(\d+)\.router$/;
/** Bytes that are held at once. */
const PIECE_BYTES = 1 << 24;

/**
 * Writes the model without `experts`, which must be as many in every MoE layer: a config has one number of experts. Those that are left
 * keep their order and get the numbers 0, 1, ...; a masked expert and one that is not there give the same function. Tokenizer, template
 * and licence files are copied. Weights keep their types and bits.
 *
 * @throws MoescopeError UNSUPPORTED for a model that is no safetensors folder; INVALID_ARGUMENT for unequal layers or fewer than k experts
 *     left; RUN_CONFLICT for a folder that is not empty.
 */
export async function writePrunedCheckpoint(
  checkpoint: Checkpoint,
  experts: readonly ExpertSlot[],
  out: string,
): Promise<{ numExperts: number; weightBytes: number }> {
  const { config, format, path } = checkpoint;
  if (format !== "safetensors") {
    throw new MoescopeError(
      "UNSUPPORTED",
      `Expected a folder of safetensors to prune, got the ${format} file ${path}.`,
    );
  }
  const removed = removedByLayer(checkpoint, experts);
  const numExperts = config.numExperts - experts.length / removed.size;
  await emptyFolder(out);
  const tensors = checkpoint.plan.tensors.flatMap((tensor) => prunedTensor(checkpoint, tensor, removed));
  writeSafetensors(join(out, "model.safetensors"), tensors, { format: "pt" });
  await copyOthers(path, out);
  await writeConfig(path, out, config.architecture === "mixtral" ? "num_local_experts" : "num_experts", numExperts);
  const weightBytes = tensors.reduce((sum, tensor) => sum + ("sizeBytes" in tensor ? tensor.sizeBytes : 0), 0);
  return { numExperts, weightBytes };
}

function removedByLayer({ config, plan }: Checkpoint, experts: readonly ExpertSlot[]): Map<number, Set<number>> {
  const layers = plan.tensors.flatMap(({ role }) => ROUTER.exec(role)?.[1] ?? []).map(Number);
  const removed = new Map(layers.map((layer) => [layer, new Set<number>()]));
  for (const { layer, expert } of experts) removed.get(layer)?.add(expert);
  const counts = new Set([...removed.values()].map(({ size }) => size));
  const [count = 0] = counts;
  if (counts.size !== 1 || count * layers.length !== experts.length) {
    throw new InvalidArgumentError(
      `Expected as many experts to prune in every one of the MoE layers ${layers.join(", ")}, got ${[...removed].map(([layer, { size }]) => `${size} in layer ${layer}`).join(", ")}.`,
    );
  }
  if (config.numExperts - count < config.numExpertsPerToken) {
    throw new InvalidArgumentError(
      `Expected at least the ${config.numExpertsPerToken} experts of a token to be left, got ${config.numExperts - count}.`,
    );
  }
  return removed;
}

function prunedTensor(
  checkpoint: Checkpoint,
  tensor: PlanTensor,
  removed: ReadonlyMap<number, ReadonlySet<number>>,
): TensorToWrite[] {
  const { nameOf } = hfNaming(checkpoint.config.architecture === "mixtral");
  const expert = EXPERT.exec(tensor.role);
  if (expert !== null) {
    const out = removed.get(Number(expert[1]))!;
    if (out.has(Number(expert[2]))) return [];
    const number = Number(expert[2]) - [...out].filter((other) => other < Number(expert[2])).length;
    return [written(checkpoint, tensor, nameOf(`layers.${expert[1]}.experts.${number}.${expert[3]}`))];
  }
  const router = ROUTER.exec(tensor.role);
  if (router === null) return [written(checkpoint, tensor, nameOf(tensor.role))];
  const out = removed.get(Number(router[1]))!;
  const kept = Array.from({ length: tensor.rows }, (_, row) => row).filter((row) => !out.has(row));
  return [written(checkpoint, tensor, nameOf(tensor.role), kept)];
}

/** The tensor's own bytes, or those of some of its rows. */
function written(checkpoint: Checkpoint, tensor: PlanTensor, name: string, rows?: readonly number[]): TensorToWrite {
  const { dtype, cols } = tensor;
  const rowBytes = sumBytes([{ dtype, rows: 1, cols }]);
  const isVector = tensor.rows === 1 && !/(router|shared_gate)$/.test(tensor.role);
  const file = checkpoint.plan.files[tensor.file]!;
  const ranges = rows?.map((row): [number, number] => [tensor.offset + row * rowBytes, rowBytes]) ?? [
    [tensor.offset, tensor.rows * rowBytes] as [number, number],
  ];
  return {
    name,
    shape: isVector ? [cols] : [rows?.length ?? tensor.rows, cols],
    dtype,
    sizeBytes: ranges.reduce((sum, [, bytes]) => sum + bytes, 0),
    *bytes() {
      for (const [offset, bytes] of ranges) {
        for (let at = 0; at < bytes; at += PIECE_BYTES) {
          const size = Math.min(PIECE_BYTES, bytes - at);
          yield withFile(file, (source) => source.read(offset + at, size));
        }
      }
    },
  };
}

async function emptyFolder(out: string): Promise<void> {
  try {
    await mkdir(out, { recursive: true });
    const [first] = await readdir(out);
    if (first === undefined) return;
    throw new MoescopeError(
      "RUN_CONFLICT",
      `Expected a new or empty folder for the pruned model, ${out} holds ${first}.`,
    );
  } catch (error) {
    throw fromSystemError(error, `create the folder ${out}`);
  }
}

/** Everything that text needs and that terms ask for; the card describes another model and stays behind. */
const COPIED =
  /^(tokenizer.*|vocab\.json|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template.*|generation_config\.json|licen[cs]e.*)$/i;

async function copyOthers(from: string, out: string): Promise<void> {
  try {
    for (const name of await readdir(from)) {
      if (COPIED.test(name)) await copyFile(join(from, name), join(out, basename(name)));
    }
  } catch (error) {
    throw fromSystemError(error, `copy the tokenizer of ${from}`);
  }
}

async function writeConfig(from: string, out: string, field: string, numExperts: number): Promise<void> {
  try {
    const config = JSON.parse(await readFile(join(from, "config.json"), "utf8")) as Record<string, unknown>;
    await writeFile(join(out, "config.json"), `${JSON.stringify({ ...config, [field]: numExperts }, null, 2)}\n`);
  } catch (error) {
    throw fromSystemError(error, `write ${join(out, "config.json")}`);
  }
}
