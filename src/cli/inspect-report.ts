/** What `inspect` knows of a checkpoint, as plain data. */
import type { Checkpoint, Licence } from "../checkpoint/checkpoint.js";
import type { GenerationDefaults } from "../checkpoint/generation-defaults.js";
import { kvCacheBytesPerToken, type ModelConfig } from "../checkpoint/model-config.js";
import type { RopeScaling } from "../checkpoint/rope.js";
import { sumBytes } from "../checkpoint/storage-types.js";
import { MoescopeError } from "../errors.js";
import { CHUNK_ROWS } from "../model/forward.js";
import { type MemoryPlan, memoryPlan } from "../model/memory-plan.js";
import { CACHE_TYPES, type CacheType, type PlanTensor } from "../native/binding.js";
import { LAYER_HOOKS, MODEL_HOOKS } from "../router/interventions.js";
import { type RouterShape, routerShapeOf } from "../router/shape.js";
import { loadModelText } from "../tokenizer/load.js";

/** Matrices of one kind and storage type. */
export interface TensorGroup {
  part: "embedding" | "attention" | "router" | "experts" | "shared expert" | "dense" | "norms" | "head";
  dtype: string;
  matrices: number;
  parameters: number;
  bytes: number;
}

/** A place where an intervention may read and write. */
export interface HookPoint {
  name: string;
  /** Layers that have it; absent where it is not in a layer. */
  layers?: readonly number[];
  /** Numbers per row. */
  width: number;
}

/** Bytes. Weights are mapped from their files: the system may drop and read them again, so they are wanted, not required. */
export interface InspectMemory {
  weightsMapped: number;
  kvCache: Record<CacheType, { perToken: number; fullContext: number }>;
  /** Buffers of one step. */
  workspace: number;
  /** What loading the model would find and do now. */
  plan: MemoryPlan;
}

export interface InspectReport {
  path: string;
  format: Checkpoint["format"];
  files: readonly string[];
  architecture: string;
  licence: Licence | null;
  parameters: { total: number; active: number };
  /** Names as in Hugging Face's config.json. */
  config: Record<string, unknown>;
  tensors: TensorGroup[];
  tokenizer: { source: string; vocabSize: number; warnings: readonly string[] } | { error: string };
  chatTemplate: { source: string; sha256: string } | null;
  eosTokens: { id: number; text: string | null }[];
  samplingDefaults: GenerationDefaults;
  ropeScaling: RopeScaling | null;
  context: { maxPositionEmbeddings: number; maxContext: number };
  memory: InspectMemory;
  router: RouterShape | null;
  hooks?: HookPoint[];
}

export interface InspectOptions {
  hooks?: boolean;
  cacheType?: CacheType;
}

export async function inspectReport(checkpoint: Checkpoint, options: InspectOptions = {}): Promise<InspectReport> {
  const { config, plan } = checkpoint;
  const text = await loadModelText(checkpoint.tokenizer, checkpoint.path).catch((error) => {
    if (error instanceof MoescopeError) return error;
    throw error;
  });
  const isBroken = text instanceof MoescopeError;
  const stopIds = [...new Set([...config.eosTokenIds, ...(isBroken ? [] : text.tokenizer.eosTokenIds)])].sort(
    (a, b) => a - b,
  );
  const router = routerShapeOf(plan.config);
  return {
    path: checkpoint.path,
    format: checkpoint.format,
    files: plan.files,
    architecture: checkpoint.architecture,
    licence: checkpoint.licence,
    parameters: { total: checkpoint.numParameters, active: checkpoint.numActiveParameters },
    config: hfConfig(config),
    tensors: tensorGroups(plan.tensors),
    tokenizer: isBroken
      ? { error: text.message }
      : { source: text.tokenizer.source, vocabSize: text.tokenizer.vocabSize, warnings: text.tokenizer.warnings },
    chatTemplate:
      isBroken || text.chatTemplate === null
        ? null
        : { source: text.chatTemplate.source, sha256: text.chatTemplate.sha256 },
    eosTokens: stopIds.map((id) => ({
      id,
      text: isBroken ? null : (text.tokenizer.tokenPiece(id) ?? null),
    })),
    samplingDefaults: checkpoint.generationDefaults,
    ropeScaling: config.ropeScaling,
    context: { maxPositionEmbeddings: config.maxPositionEmbeddings, maxContext: config.maxContext },
    memory: inspectMemory(checkpoint, options.cacheType),
    router: router.moeLayers.length === 0 ? null : router,
    hooks: options.hooks ? hookPoints(config, router) : undefined,
  };
}

function inspectMemory(checkpoint: Checkpoint, cacheType: CacheType | undefined): InspectMemory {
  const plan = memoryPlan(checkpoint, { cacheType, stepRows: CHUNK_ROWS });
  const cache = (type: CacheType) => {
    const perToken = kvCacheBytesPerToken(checkpoint.config, type);
    return { perToken, fullContext: perToken * checkpoint.config.maxContext };
  };
  const kvCache = Object.fromEntries(CACHE_TYPES.map((type) => [type, cache(type)])) as InspectMemory["kvCache"];
  return { weightsMapped: plan.weights, kvCache, workspace: plan.workspace, plan };
}

/** The config in the words of Hugging Face; what an architecture does not have is left out. */
function hfConfig(config: ModelConfig): Record<string, unknown> {
  const isMoe = config.numExperts > 0;
  const experts = config.architecture === "mixtral" ? "num_local_experts" : "num_experts";
  return {
    model_type: config.architecture,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.numLayers,
    num_attention_heads: config.numAttentionHeads,
    num_key_value_heads: config.numKeyValueHeads,
    head_dim: config.headDim,
    ...(config.intermediateSize > 0 && { intermediate_size: config.intermediateSize }),
    ...(isMoe && {
      [experts]: config.numExperts,
      num_experts_per_tok: config.numExpertsPerToken,
      moe_intermediate_size: config.moeIntermediateSize,
      norm_topk_prob: config.normTopkProb,
    }),
    ...(config.sharedExpertIntermediateSize > 0 && {
      shared_expert_intermediate_size: config.sharedExpertIntermediateSize,
    }),
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    max_position_embeddings: config.maxPositionEmbeddings,
    attention_bias: config.attentionBias,
    tie_word_embeddings: config.tieWordEmbeddings,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds,
  };
}

function tensorGroups(tensors: readonly PlanTensor[]): TensorGroup[] {
  const groups = new Map<string, TensorGroup>();
  for (const tensor of tensors) {
    const part = partOf(tensor.role);
    const key = `${part} ${tensor.dtype}`;
    const group = groups.get(key) ?? { part, dtype: tensor.dtype, matrices: 0, parameters: 0, bytes: 0 };
    group.matrices++;
    group.parameters += tensor.rows * tensor.cols;
    group.bytes += sumBytes([tensor]);
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => b.bytes - a.bytes);
}

function partOf(role: string): TensorGroup["part"] {
  if (role === "embed") return "embedding";
  if (role === "head") return "head";
  if (role.endsWith("norm")) return "norms";
  const inLayer = role.replace(/^layers\.\d+\./, "");
  if (inLayer === "router") return "router";
  if (inLayer.startsWith("experts.")) return "experts";
  if (inLayer.startsWith("shared")) return "shared expert";
  return /^(gate|up|down)$/.test(inLayer) ? "dense" : "attention";
}

/** The hook points that this model has. */
function hookPoints(config: ModelConfig, { numLayers, moeLayers, hasSharedExpert }: RouterShape): HookPoint[] {
  const every = Array.from({ length: numLayers }, (_, layer) => layer);
  const widths: Readonly<Record<string, number>> = {
    "router.logits": config.numExperts,
    "shared.gate": 1,
    "output.logits": config.vocabSize,
  };
  const layersOf = (name: string) =>
    name.startsWith("residual.") ? every : name.startsWith("shared.") && !hasSharedExpert ? [] : moeLayers;
  const inLayers = LAYER_HOOKS.map((name) => ({
    name,
    layers: layersOf(name),
    width: widths[name] ?? config.hiddenSize,
  }));
  const atEnds = MODEL_HOOKS.map((name) => ({ name, width: widths[name] ?? config.hiddenSize }));
  return [...inLayers.filter(({ layers }) => layers.length > 0), ...atEnds];
}
