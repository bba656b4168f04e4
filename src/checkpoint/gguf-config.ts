import type { FileTensor } from "./file-tensor.js";
import { ArchitectureKeys } from "./gguf-keys.js";
import type { GgufMetadata } from "./gguf-metadata.js";
import type { GgufModel } from "./gguf-split.js";
import { type Architecture, checkModelSizes, checkTokenId, checkWidths, type ModelConfig } from "./model-config.js";
import { badFile, unsupported } from "./refuse.js";
import { type ConfigOptions, checkYarn, completeYarn, ropeSettings, type StatedRope } from "./rope-scaling.js";

/** Keys below `{architecture}.` that are read here, or that change nothing. */
const KNOWN_KEYS: ReadonlySet<string> = new Set(
  `
  context_length embedding_length block_count feed_forward_length vocab_size tensor_data_layout use_parallel_residual
  attention.head_count attention.head_count_kv attention.layer_norm_rms_epsilon attention.key_length
  attention.value_length attention.causal
  rope.dimension_count rope.freq_base rope.scale_linear rope.scaling.type rope.scaling.factor
  rope.scaling.original_context_length rope.scaling.finetuned rope.scaling.attn_factor rope.scaling.yarn_attn_factor
  rope.scaling.yarn_ext_factor rope.scaling.yarn_beta_fast rope.scaling.yarn_beta_slow
  expert_count expert_used_count expert_feed_forward_length expert_shared_feed_forward_length
  shared_expert_feed_forward_length expert_weights_norm expert_weights_scale expert_gating_func
  `
    .trim()
    .split(/\s+/),
);

const SOFTMAX_GATING = 1;
const DEFAULT_THETA = 10000;
const STOP_TOKEN_KEYS = ["eos_token_id", "eot_token_id", "eom_token_id"];

/**
 * Turns GGUF metadata into a ModelConfig. Where old files lack a width or state another than their tensors have, the tensors
 * win. `eosTokenIds` are those of the metadata.
 * @throws CheckpointError, InvalidArgumentError for `options`
 */
export function parseGgufConfig(model: GgufModel, options: ConfigOptions = {}): ModelConfig {
  const { metadata } = model;
  const where = metadata.path;
  const keys = new ArchitectureKeys(metadata);
  refuseOtherMath(keys);
  const tensors = new Map(model.tensors.map((tensor) => [tensor.name, tensor]));
  const numExperts = keys.integer("expert_count", 0, 0);
  const architecture = architectureOf(keys, numExperts);
  const isMoe = numExperts > 0;

  const hiddenSize = keys.required("embedding_length");
  const numLayers = keys.required("block_count");
  const numAttentionHeads = keys.perLayer("attention.head_count") ?? keys.missing("attention.head_count");
  const maxPositionEmbeddings = keys.required("context_length");
  const stated = readRope(keys, maxPositionEmbeddings);
  const sizes = {
    numLayers,
    hiddenSize,
    numAttentionHeads,
    numKeyValueHeads: keys.perLayer("attention.head_count_kv") ?? numAttentionHeads,
    headDim: keys.integer("attention.key_length", hiddenSize / numAttentionHeads),
    vocabSize: rowsOf(tensors, "token_embd.weight") ?? keys.required("vocab_size"),
    rmsNormEps: keys.float("attention.layer_norm_rms_epsilon") ?? keys.missing("attention.layer_norm_rms_epsilon"),
    ropeTheta: stated.theta,
    numExperts,
    numExpertsPerToken: isMoe ? keys.required("expert_used_count") : 0,
  };
  checkModelSizes(sizes, where);
  refuseOtherHeadDims(keys, sizes.headDim);
  const config: ModelConfig = {
    architecture,
    ...sizes,
    ...readWidths(keys, model.tensors, architecture, sizes.numExpertsPerToken),
    normTopkProb: metadata.boolean(keys.name("expert_weights_norm")) ?? architecture === "mixtral",
    ropeLayout: keys.architecture === "llama" ? "interleaved" : "half",
    ...ropeSettings(sizes.headDim, stated, maxPositionEmbeddings, options),
    isMoeLayer: new Uint8Array(numLayers).fill(isMoe ? 1 : 0),
    attentionBias: architecture === "qwen2" || architecture === "qwen2_moe",
    tieWordEmbeddings: !tensors.has("output.weight"),
    eosTokenIds: [],
    bosTokenId: null,
  };
  checkWidths(config, where);
  readTokens(metadata, config);
  return config;
}

function architectureOf(keys: ArchitectureKeys, numExperts: number): Architecture {
  const architecture = keys.family;
  if (architecture === "qwen2_moe" && numExperts === 0) {
    throw badFile(
      `${keys.metadata.path} is a qwen2moe model without experts: expected ${keys.name("expert_count")} above 0.`,
    );
  }
  if (architecture === "qwen2" && numExperts > 0) {
    throw unsupported(
      `${keys.name("expert_count")} ${numExperts} in ${keys.metadata.path} is not supported for this architecture.`,
    );
  }
  return architecture === "llama" && numExperts > 0 ? "mixtral" : architecture;
}

/** Keys that are known and computed only at one value, and keys that are not known at all. */
function refuseOtherMath(keys: ArchitectureKeys): void {
  const { metadata } = keys;
  const prefix = `${keys.architecture}.`;
  for (const key of metadata.keys()) {
    if (!key.startsWith(prefix) || KNOWN_KEYS.has(key.slice(prefix.length))) continue;
    const found = metadata.get(key)!;
    const isNeutral = found.type !== "array" && found.type !== "string" && Number(found.value) === 0;
    if (!isNeutral)
      throw unsupported(`Key ${key} of ${metadata.path} is not known and could change what the model computes.`);
  }
  const gating = keys.integer("expert_gating_func", SOFTMAX_GATING, 0);
  if (gating !== SOFTMAX_GATING && gating !== 0) {
    throw unsupported(
      `${keys.name("expert_gating_func")} ${gating} in ${metadata.path} is not supported, only softmax (1).`,
    );
  }
  const scale = keys.float("expert_weights_scale") ?? 1;
  if (scale !== 1 && scale !== 0) {
    throw unsupported(`${keys.name("expert_weights_scale")} ${scale} in ${metadata.path} is not supported, only 1.`);
  }
  if (metadata.boolean(keys.name("attention.causal")) === false) {
    throw unsupported(`${keys.name("attention.causal")} false in ${metadata.path} is not supported.`);
  }
  if (metadata.boolean(keys.name("use_parallel_residual"))) {
    throw unsupported(`${keys.name("use_parallel_residual")} true in ${metadata.path} is not supported.`);
  }
}

function refuseOtherHeadDims(keys: ArchitectureKeys, headDim: number): void {
  for (const key of ["attention.value_length", "rope.dimension_count"]) {
    const size = keys.integer(key, headDim);
    if (size !== headDim) {
      throw unsupported(
        `${keys.name(key)} ${size} in ${keys.metadata.path} is not supported: it must be the head_dim, ${headDim}.`,
      );
    }
  }
}

function readRope(keys: ArchitectureKeys, maxPosition: number): StatedRope {
  const { metadata } = keys;
  const theta = keys.float("rope.freq_base") ?? DEFAULT_THETA;
  const factor = keys.float("rope.scaling.factor") ?? keys.float("rope.scale_linear");
  // llama.cpp takes a factor without a type as linear.
  const type = metadata.text(keys.name("rope.scaling.type")) ?? (factor === undefined ? "none" : "linear");
  const isOff = type === "none" || (type === "linear" && (factor === undefined || factor === 1 || factor === 0));
  if (isOff) return { theta, yarn: null };
  if (type !== "yarn") {
    throw unsupported(
      `Rope scaling ${JSON.stringify(type)} of ${metadata.path} is not supported; moescope computes yarn.`,
    );
  }
  const extrapolation = keys.float("rope.scaling.yarn_ext_factor") ?? 1;
  if (extrapolation !== 1) {
    throw unsupported(
      `${keys.name("rope.scaling.yarn_ext_factor")} ${extrapolation} in ${metadata.path} is not supported, only 1.`,
    );
  }
  const yarn = completeYarn(
    {
      factor,
      originalMaxPositionEmbeddings: keys.integer("rope.scaling.original_context_length", undefined),
      betaFast: keys.float("rope.scaling.yarn_beta_fast"),
      betaSlow: keys.float("rope.scaling.yarn_beta_slow"),
      // The converter copies attention_factor of config.json into this key.
      attentionFactor: keys.float("rope.scaling.yarn_attn_factor"),
    },
    maxPosition,
  );
  // llama.cpp multiplies YaRN's own factor by this one.
  const extra = keys.float("rope.scaling.attn_factor") ?? 1;
  return { theta, yarn: checkYarn({ ...yarn, attentionFactor: yarn.attentionFactor * extra }, metadata.path) };
}

type Widths = Pick<ModelConfig, "intermediateSize" | "moeIntermediateSize" | "sharedExpertIntermediateSize">;

/** Widths of dense layers, experts and the shared expert. Old files state them wrongly or not at all; their tensors do not lie. */
function readWidths(
  keys: ArchitectureKeys,
  tensors: readonly FileTensor[],
  architecture: Architecture,
  expertsPerToken: number,
): Widths {
  const feedForward = keys.perLayer("feed_forward_length") ?? 0;
  if (architecture === "llama" || architecture === "qwen2") {
    const intermediateSize = rowsOfFirst(tensors, /^blk\.\d+\.ffn_gate\.weight$/) ?? feedForward;
    return { intermediateSize, moeIntermediateSize: 0, sharedExpertIntermediateSize: 0 };
  }
  const merged = rowsOfFirst(tensors, /^blk\.\d+\.ffn_gate_up_exps\.weight$/);
  const moeIntermediateSize =
    rowsOfFirst(tensors, /^blk\.\d+\.ffn_gate_exps\.weight$/) ??
    rowsOfFirst(tensors, /^blk\.\d+\.ffn_gate\.\d+\.weight$/) ??
    (merged === undefined ? undefined : merged / 2) ??
    keys.integer("expert_feed_forward_length", undefined) ??
    (architecture === "mixtral" ? feedForward : feedForward / expertsPerToken);
  if (architecture === "mixtral") return { intermediateSize: 0, moeIntermediateSize, sharedExpertIntermediateSize: 0 };
  const sharedExpertIntermediateSize =
    rowsOfFirst(tensors, /^blk\.\d+\.ffn_gate_(shexp|shared_exp)\.weight$/) ??
    keys.integer("expert_shared_feed_forward_length", undefined) ??
    keys.integer("shared_expert_feed_forward_length", undefined) ??
    feedForward;
  return { intermediateSize: 0, moeIntermediateSize, sharedExpertIntermediateSize };
}

/** Output rows of a matrix, per expert if stacked. */
function rowsOf(tensors: ReadonlyMap<string, FileTensor>, name: string): number | undefined {
  return tensors.get(name)?.shape.at(-2);
}

function rowsOfFirst(tensors: readonly FileTensor[], name: RegExp): number | undefined {
  return tensors.find((tensor) => name.test(tensor.name))?.shape.at(-2);
}

/** Fills in the special tokens, after checking that the vocabulary fits the model and its lists belong together. */
function readTokens(metadata: GgufMetadata, config: ModelConfig): void {
  const where = metadata.path;
  const numTokens = metadata.strings("tokenizer.ggml.tokens")?.length;
  if (numTokens !== undefined && numTokens > config.vocabSize) {
    throw badFile(`${where} lists ${numTokens} tokens, more than the ${config.vocabSize} rows of its token embedding.`);
  }
  const lists = [
    ["tokenizer.ggml.token_type", "integers"],
    ["tokenizer.ggml.scores", "floats"],
  ] as const;
  for (const [key, kind] of lists) {
    const length = metadata.numbers(key, kind)?.length;
    if (length !== undefined && length !== numTokens) {
      throw badFile(`Expected one entry in ${key} of ${where} for each of ${numTokens ?? 0} tokens, found ${length}.`);
    }
  }
  const id = (name: string) => {
    const value = metadata.integer(`tokenizer.ggml.${name}`);
    if (value !== undefined) checkTokenId(value, `tokenizer.ggml.${name}`, config.vocabSize, where);
    return value;
  };
  config.eosTokenIds = STOP_TOKEN_KEYS.map(id).filter((value) => value !== undefined);
  config.bosTokenId = id("bos_token_id") ?? null;
}
