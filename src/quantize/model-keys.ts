/** What a GGUF file says about a model beside its tokenizer: `general.*` and the keys of the architecture. */
import { basename } from "node:path";
import type { Checkpoint } from "../checkpoint/checkpoint.js";
import type { GgufValue } from "../checkpoint/gguf-values.js";
import type { ModelConfig } from "../checkpoint/model-config.js";
import { unsupported } from "../checkpoint/refuse.js";
import { yarnAttentionFactor } from "../checkpoint/rope.js";
import { countValue, flagValue, floatValue, textValue } from "./gguf-entries.js";

const ARCHITECTURE_NAMES = { qwen2_moe: "qwen2moe", qwen2: "qwen2", mixtral: "llama", llama: "llama" } as const;

/** Of YaRN, where a file states none. */
const BETA_FAST = 32;
const BETA_SLOW = 1;

/** The name that says what the file is, its makers' suggestions for sampling, its licence. */
export function generalKeys({ path, architecture, licence, generationDefaults }: Checkpoint): Map<string, GgufValue> {
  const keys = new Map<string, GgufValue>([
    ["general.architecture", textValue(ARCHITECTURE_NAMES[architecture])],
    ["general.type", textValue("model")],
    ["general.name", textValue(basename(path))],
  ]);
  if (licence?.name !== undefined) keys.set("general.license", textValue(licence.name));
  if (licence?.link !== undefined) keys.set("general.license.link", textValue(licence.link));
  const { temperature, topK, topP, minP, repetitionPenalty, doSample } = generationDefaults;
  if (doSample === false) return keys;
  const sampling = { temp: temperature, top_p: topP, min_p: minP, penalty_repeat: repetitionPenalty };
  for (const [name, value] of Object.entries(sampling)) {
    if (value !== undefined) keys.set(`general.sampling.${name}`, floatValue(value));
  }
  if (topK !== undefined) keys.set("general.sampling.top_k", { type: "i32", value: topK });
  return keys;
}

/**
 * Sizes, rope and experts. `feedForward` is the width of dense layers that the config states, whether there are any or not.
 * Throws UNSUPPORTED for what GGUF cannot say.
 */
export function architectureKeys(
  checkpoint: Pick<Checkpoint, "path" | "architecture" | "config">,
  feedForward: number | undefined,
): Map<string, GgufValue> {
  const { architecture, config } = checkpoint;
  refuseUnsayable(checkpoint);
  const name = ARCHITECTURE_NAMES[architecture];
  const keys = new Map<string, GgufValue>();
  const put = (key: string, value: GgufValue) => keys.set(`${name}.${key}`, value);
  const isMoe = config.numExperts > 0;
  const denseWidth = config.intermediateSize || feedForward || config.sharedExpertIntermediateSize;

  put("block_count", countValue(config.numLayers));
  put("context_length", countValue(config.maxPositionEmbeddings));
  put("embedding_length", countValue(config.hiddenSize));
  put("feed_forward_length", countValue(architecture === "mixtral" ? config.moeIntermediateSize : denseWidth));
  put("attention.head_count", countValue(config.numAttentionHeads));
  put("attention.head_count_kv", countValue(config.numKeyValueHeads));
  put("attention.key_length", countValue(config.headDim));
  put("attention.value_length", countValue(config.headDim));
  put("attention.layer_norm_rms_epsilon", floatValue(config.rmsNormEps));
  put("rope.freq_base", floatValue(config.ropeTheta));
  put("rope.dimension_count", countValue(config.headDim));
  put("vocab_size", countValue(config.vocabSize));
  for (const [key, value] of ropeScalingKeys(config)) put(`rope.scaling.${key}`, value);
  if (isMoe) {
    put("expert_count", countValue(config.numExperts));
    put("expert_used_count", countValue(config.numExpertsPerToken));
  }
  if (architecture === "qwen2_moe") {
    put("expert_feed_forward_length", countValue(config.moeIntermediateSize));
    put("expert_shared_feed_forward_length", countValue(config.sharedExpertIntermediateSize));
    // Absent it means false, which llama.cpp computes whatever the file says.
    if (config.normTopkProb) put("expert_weights_norm", flagValue(true));
  }
  return keys;
}

function refuseUnsayable({ path, architecture, config }: Pick<Checkpoint, "path" | "architecture" | "config">): void {
  if (architecture === "qwen2_moe" && config.isMoeLayer.includes(0)) {
    throw unsupported(`${path} has dense layers among its MoE layers, for which GGUF's qwen2moe has no place.`);
  }
  if (architecture === "qwen2_moe" && !config.attentionBias) {
    throw unsupported(`${path} has no biases in its attention, which GGUF's qwen2moe demands.`);
  }
  if (config.ropeScaling?.truncate === false) {
    throw unsupported(`${path} scales its rope without rounding the bounds (truncate false), which GGUF cannot say.`);
  }
}

/** Only what differs from the defaults; `yarn_attn_factor` is where llama.cpp's converter puts a stated attention factor. */
function* ropeScalingKeys({ ropeScaling }: ModelConfig): Generator<[string, GgufValue]> {
  if (ropeScaling === null) return;
  const { factor, originalMaxPositionEmbeddings, betaFast, betaSlow, attentionFactor } = ropeScaling;
  yield ["type", textValue("yarn")];
  yield ["factor", floatValue(factor)];
  yield ["original_context_length", countValue(originalMaxPositionEmbeddings)];
  if (betaFast !== BETA_FAST) yield ["yarn_beta_fast", floatValue(betaFast)];
  if (betaSlow !== BETA_SLOW) yield ["yarn_beta_slow", floatValue(betaSlow)];
  if (attentionFactor !== yarnAttentionFactor(factor)) yield ["yarn_attn_factor", floatValue(attentionFactor)];
}
