/** How much memory a model takes, before anything is loaded: from its config, the size of its weights and what is free. */

import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { kvCacheBytesPerToken } from "../checkpoint/model-config.js";
import { sumBytes } from "../checkpoint/storage-types.js";
import { MoescopeError } from "../errors.js";
import type { CacheType } from "../native/binding.js";
import { type AvailableMemory, availableMemory } from "./available-memory.js";
import { readRate } from "./read-rate.js";

/** Bytes, unless the name says otherwise. */
export interface MemoryPlan {
  /** Mapped from their files: the system drops and reads them again as it needs the room. */
  weights: number;
  cacheType: CacheType;
  /** Keys and values of one token, and of one text that fills the context. */
  kvPerToken: number;
  kvFullContext: number;
  contextTokens: number;
  /** Bound on the keys and values of all running texts and of the prefixes that are kept. */
  kvCacheBytes: number;
  /** Buffers of one step. */
  workspace: number;
  available: AvailableMemory;
  /** Where the weights do not fit beside the rest: what a token has to read again, and what that lets hope for. */
  paging: Paging | null;
}

export interface Paging {
  /** Expected bytes from storage per generated token. */
  bytesPerToken: number;
  /** Of the first weight file's storage; null where it could not be measured. */
  readBytesPerSecond: number | null;
  tokensPerSecond: number | null;
}

export interface MemoryPlanOptions {
  cacheType?: CacheType;
  kvCacheBytes?: number;
  /** Rows of one step. */
  stepRows: number;
  available?: AvailableMemory;
  measureReadRate?: (path: string) => number | undefined;
}

/** Rows of logits that the head computes at once (native/cpu/head.cpp). */
const HEAD_ROWS = 32;
/** Fewer tokens than this are no context to work with. */
const LEAST_CONTEXT = 256;
/** Texts of full length that the cache has room for where memory is plenty, and at least this many bytes. */
const PLENTY_OF_CONTEXTS = 16;
const PLENTY_OF_BYTES = 256 * 2 ** 20;

export function memoryPlan(checkpoint: Checkpoint, options: MemoryPlanOptions): MemoryPlan {
  const { config, weightBytes: weights } = checkpoint;
  const { cacheType = "f32", available = availableMemory() } = options;
  const kvPerToken = kvCacheBytesPerToken(config, cacheType);
  const kvFullContext = kvPerToken * config.maxContext;
  const workspace = workspaceBytes(checkpoint, options.stepRows);
  const spare = Math.max(0, available.bytes - workspace - weights);
  const plenty = Math.max(PLENTY_OF_CONTEXTS * kvFullContext, PLENTY_OF_BYTES);
  const least = Math.min(kvFullContext, Math.max(0, available.bytes - workspace) / 2);
  const kvCacheBytes = options.kvCacheBytes ?? Math.floor(Math.max(least, Math.min(plenty, spare / 2)));
  const room = available.bytes - workspace - Math.min(kvFullContext, kvCacheBytes);
  return {
    ...{ weights, cacheType, kvPerToken, kvFullContext, kvCacheBytes, workspace, available },
    contextTokens: config.maxContext,
    paging:
      available.boundBy !== "card" && weights > room
        ? pagingOf(checkpoint, Math.max(0, room), options.measureReadRate ?? readRate)
        : null,
  };
}

/**
 * Throws OUT_OF_MEMORY where the weights do not fit on the card, or keys and values of the context that was asked for (or, where none was, of the least useful one) and the
 * workspace do not fit into what is free.
 */
export function checkMemory(plan: MemoryPlan, askedContext: number | undefined): void {
  const { kvPerToken, workspace, available, cacheType } = plan;
  if (available.boundBy === "card" && plan.weights + workspace > available.bytes) {
    throw new MoescopeError(
      "OUT_OF_MEMORY",
      `The weights and the workspace take ${formatSize(plan.weights + workspace)}, ${formatSize(available.bytes)} are free on the ` +
        'card: take a file with fewer bits for a weight, or device "cpu".',
    );
  }
  const tokens = Math.min(plan.contextTokens, askedContext ?? LEAST_CONTEXT);
  const needed = tokens * kvPerToken + workspace;
  if (needed <= available.bytes) return;
  const fits = tokensThatFit(available, workspace, kvPerToken);
  const way = cacheType === "f32" ? " or keep them in bf16 or q8_0, which take half and a quarter" : "";
  throw new MoescopeError(
    "OUT_OF_MEMORY",
    `Keys and values of ${tokens} tokens in ${cacheType} and the workspace take ${formatSize(needed)}, ` +
      `${formatSize(available.bytes)} are free${whereIn(available)}, enough for ${fits} tokens: ` +
      `ask for a shorter context${way}.`,
  );
}

/** One line for people, and one more for each thing to know. */
export function formatMemoryPlan(plan: MemoryPlan): string {
  const { weights, contextTokens, cacheType, kvFullContext, workspace, available } = plan;
  const line =
    `Memory: weights ${formatSize(weights)}${available.boundBy === "card" ? "" : " mapped"}, keys and values ${formatSize(kvFullContext)} at ${contextTokens} tokens in ` +
    `${cacheType}, workspace ${formatSize(workspace)}; ${formatSize(available.bytes)} free${whereIn(available)}.`;
  return [line, ...memoryWarnings(plan)].join("\n");
}

/** Where the context or the weights do not fit: what does, and the speed to expect. */
export function memoryWarnings({ contextTokens, kvPerToken, workspace, available, paging }: MemoryPlan): string[] {
  const warnings: string[] = [];
  const tokens = tokensThatFit(available, workspace, kvPerToken);
  if (tokens < contextTokens)
    warnings.push(`Only about ${tokens} of ${contextTokens} tokens of context fit into memory.`);
  if (paging !== null) {
    const { bytesPerToken, readBytesPerSecond, tokensPerSecond } = paging;
    const speed =
      readBytesPerSecond === null
        ? "how fast that is could not be measured"
        : `at ${formatSize(readBytesPerSecond)} per second, as measured, expect ${formatRate(tokensPerSecond!)}`;
    warnings.push(
      `The weights do not fit beside the rest and are read again from storage as they are needed, about ` +
        `${formatSize(bytesPerToken)} per generated token: ${speed}.`,
    );
  }
  return warnings;
}

function tokensThatFit(available: AvailableMemory, workspace: number, kvPerToken: number): number {
  return Math.max(0, Math.floor((available.bytes - workspace) / kvPerToken));
}

function whereIn({ boundBy }: AvailableMemory): string {
  return { system: "", cgroup: " in this cgroup", card: " on the card" }[boundBy];
}

/** Buffers of a step's rows and of the output matrix. */
function workspaceBytes({ config }: Checkpoint, stepRows: number): number {
  const { hiddenSize, numExpertsPerToken, moeIntermediateSize, sharedExpertIntermediateSize, intermediateSize } =
    config;
  const attention = 2 * (config.numAttentionHeads + config.numKeyValueHeads) * config.headDim;
  const routed = numExpertsPerToken * 2 * (hiddenSize + moeIntermediateSize);
  const perRow = 5 * hiddenSize + attention + routed + 2 * Math.max(sharedExpertIntermediateSize, intermediateSize);
  const head = HEAD_ROWS * (hiddenSize + config.vocabSize);
  return 4 * (stepRows * perRow + head);
}

/**
 * What one generated token reads from storage if `room` bytes of weights stay in memory. The weights that every token needs stay
 * first; the room that is left holds a part of the experts, each as likely as the next to be chosen. Where not even the first fit, a
 * pass over all of them drops each before its turn comes again, so all are read.
 */
function pagingOf(checkpoint: Checkpoint, room: number, measure: (path: string) => number | undefined): Paging {
  const { config, plan } = checkpoint;
  const experts = sumBytes(plan.tensors.filter(({ role }) => role.includes(".experts.")));
  const rows = plan.tensors.some(({ role }) => role === "head")
    ? plan.tensors.filter(({ role }) => role === "embed")
    : [];
  const always = checkpoint.weightBytes - experts - sumBytes(rows);
  const chosen = config.numExperts === 0 ? 0 : (experts * config.numExpertsPerToken) / config.numExperts;
  const missing = experts === 0 ? 0 : 1 - Math.min(1, (room - always) / experts);
  const bytesPerToken = Math.round(room < always ? always + chosen : chosen * missing);
  const rate = measure(plan.files[0]!) ?? null;
  return {
    bytesPerToken,
    readBytesPerSecond: rate,
    tokensPerSecond: rate === null ? null : rate / Math.max(1, bytesPerToken),
  };
}

function formatSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1000 && unit < units.length - 1; unit++) size /= 1024;
  return `${size.toPrecision(3).replace(/\.0+$/, "")} ${units[unit]}`;
}

function formatRate(tokensPerSecond: number): string {
  return tokensPerSecond >= 1
    ? `up to ${tokensPerSecond.toPrecision(2)} tokens per second`
    : `up to one token in ${(1 / tokensPerSecond).toPrecision(2)} seconds`;
}
