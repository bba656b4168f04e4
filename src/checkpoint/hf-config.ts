import { ConfigFields } from "./config-fields.js";
import { DEFAULTS, HARMLESS_FIELDS } from "./hf-fields.js";
import { readHfRope } from "./hf-rope.js";
import { type Architecture, checkModelSizes, checkTokenId, checkWidths, type ModelConfig } from "./model-config.js";
import { badFile, unsupported } from "./refuse.js";
import { type ConfigOptions, ropeSettings } from "./rope-scaling.js";
import type { JsonObject } from "./strict-json.js";

/**
 * Turns a config.json into a ModelConfig. `eosTokenIds` are those of this file alone.
 * @param where the file, for messages. @throws CheckpointError, InvalidArgumentError for `options`
 */
export function parseHfConfig(json: JsonObject, where: string, options: ConfigOptions = {}): ModelConfig {
  const fields = new ConfigFields(json, where);
  const architecture = readArchitecture(fields);
  const defaults = DEFAULTS[architecture];
  refuseQuantised(fields);
  refuseOtherMath(fields, architecture);

  const hiddenSize = fields.integer("hidden_size", defaults.hiddenSize);
  const numAttentionHeads = fields.integer("num_attention_heads", defaults.numAttentionHeads);
  const maxPositionEmbeddings = fields.integer("max_position_embeddings", defaults.maxPositionEmbeddings);
  const rope = readHfRope(fields, defaults.ropeTheta, maxPositionEmbeddings);
  const vocabSize = fields.integer("vocab_size", defaults.vocabSize);
  const sizes = {
    numLayers: fields.integer("num_hidden_layers", defaults.numLayers),
    hiddenSize,
    numAttentionHeads,
    numKeyValueHeads: fields.integer(
      "num_key_value_heads",
      "num_key_value_heads" in json ? numAttentionHeads : (defaults.numKeyValueHeads ?? numAttentionHeads),
    ),
    headDim: fields.integer("head_dim", hiddenSize / numAttentionHeads),
    vocabSize,
    rmsNormEps: fields.number("rms_norm_eps", defaults.rmsNormEps),
    ropeTheta: rope.theta,
    ...readExperts(fields, architecture),
  };
  checkModelSizes(sizes, where);
  const isMoeLayer = readMoeLayers(fields, architecture, sizes.numLayers, sizes.numExperts);
  refuseSlidingLayers(fields, sizes.numLayers);
  const intermediateSize = fields.integer("intermediate_size", defaults.intermediateSize);
  const config: ModelConfig = {
    architecture,
    ...sizes,
    intermediateSize: isMoeLayer.includes(0) ? intermediateSize : 0,
    moeIntermediateSize: architecture === "mixtral" ? intermediateSize : sizes.moeIntermediateSize,
    ropeLayout: "half",
    ...ropeSettings(sizes.headDim, rope, maxPositionEmbeddings, options),
    isMoeLayer,
    attentionBias: readAttentionBias(fields, architecture),
    tieWordEmbeddings: fields.boolean("tie_word_embeddings", false),
    eosTokenIds: "eos_token_id" in json ? fields.tokenIds("eos_token_id") : defaults.eosTokenIds,
    bosTokenId: fields.integer("bos_token_id", "bos_token_id" in json ? undefined : defaults.bosTokenId, 0) ?? null,
  };
  checkWidths(config, where);
  for (const id of config.eosTokenIds) checkTokenId(id, "eos_token_id", vocabSize, where);
  if (config.bosTokenId !== null) checkTokenId(config.bosTokenId, "bos_token_id", vocabSize, where);
  refuseUnread(fields);
  return config;
}

function readArchitecture(fields: ConfigFields): Architecture {
  const type = fields.text("model_type", undefined);
  if (type === undefined)
    throw badFile(`${fields.where} states no model_type: is this the config of a language model?`);
  if (!Object.hasOwn(DEFAULTS, type)) throw unsupportedArchitecture(type, fields.where);
  return type as Architecture;
}

/** The sentence for an architecture that is not computed. */
export function unsupportedArchitecture(name: string, where: string): Error {
  return unsupported(
    `Architecture ${JSON.stringify(name)} of ${where} is not supported; moescope computes ${Object.keys(DEFAULTS).join(", ")} ` +
      '(see "add an architecture" in the docs).',
  );
}

function refuseQuantised(fields: ConfigFields): void {
  if (fields.raw("quantization") !== undefined) {
    throw unsupported(
      `${fields.where} says that the weights are quantised by MLX (quantization), which is not supported.`,
    );
  }
  const quantization = fields.object("quantization_config");
  if (quantization === undefined) return;
  const method = quantization.text("quant_method", "an unnamed method");
  throw unsupported(
    `${fields.where} says that the weights are quantised by ${method} (quantization_config), which is not supported: take the ` +
      "original weights or a GGUF file.",
  );
}

/** Fields that are known, and computed only at one value. */
function refuseOtherMath(fields: ConfigFields, architecture: Architecture): void {
  const act = fields.text("hidden_act", "silu");
  if (act !== "silu" && act !== "swish")
    throw unsupported(`hidden_act ${JSON.stringify(act)} in ${fields.where} is not supported, only silu.`);
  for (const name of ["attention_bias", "mlp_bias", "is_encoder_decoder", "add_cross_attention"]) {
    if (fields.boolean(name, false)) throw unsupported(`${name} true in ${fields.where} is not supported.`);
  }
  if (!fields.boolean("is_causal", true)) throw unsupported(`is_causal false in ${fields.where} is not supported.`);
  const usesWindow = architecture.startsWith("qwen2") ? fields.boolean("use_sliding_window", false) : true;
  const window = fields.integer("sliding_window", 0, 0);
  if (architecture.startsWith("qwen2") && usesWindow) {
    throw unsupported(`use_sliding_window true in ${fields.where} is not supported: attention sees the whole context.`);
  }
  if (!architecture.startsWith("qwen2") && window > 0) {
    throw unsupported(
      `sliding_window ${window} in ${fields.where} is not supported: attention sees the whole context.`,
    );
  }
}

/** Recent versions of transformers list the kind of attention of every layer. */
function refuseSlidingLayers(fields: ConfigFields, numLayers: number): void {
  const types = fields.raw("layer_types");
  if (types === undefined) return;
  if (!Array.isArray(types) || types.length !== numLayers) {
    throw fields.wrong("layer_types", `a list with one entry for each of ${numLayers} layers`, types);
  }
  const other = types.find((type) => type !== "full_attention");
  if (other !== undefined) {
    throw unsupported(
      `layer_types of ${fields.where} lists ${JSON.stringify(other)}, which is not supported, only "full_attention".`,
    );
  }
}

function readAttentionBias(fields: ConfigFields, architecture: Architecture): boolean {
  if (architecture === "qwen2_moe") return fields.boolean("qkv_bias", true);
  return architecture === "qwen2";
}

interface ExpertSizes {
  numExperts: number;
  numExpertsPerToken: number;
  normTopkProb: boolean;
  moeIntermediateSize: number;
  sharedExpertIntermediateSize: number;
}

function readExperts(fields: ConfigFields, architecture: Architecture): ExpertSizes {
  if (architecture === "qwen2_moe") {
    return {
      numExperts: fields.integer("num_experts", 60, 0),
      numExpertsPerToken: fields.integer("num_experts_per_tok", 4),
      normTopkProb: fields.boolean("norm_topk_prob", false),
      moeIntermediateSize: fields.integer("moe_intermediate_size", 1408),
      sharedExpertIntermediateSize: fields.integer("shared_expert_intermediate_size", 5632),
    };
  }
  const isMixtral = architecture === "mixtral";
  return {
    numExperts: isMixtral ? fields.integer("num_local_experts", 8) : 0,
    numExpertsPerToken: isMixtral ? fields.integer("num_experts_per_tok", 2) : 0,
    // Mixtral divides by the sum of the chosen, whatever its config says.
    normTopkProb: isMixtral,
    moeIntermediateSize: 0,
    sharedExpertIntermediateSize: 0,
  };
}

/** Layer l routes iff it is not in mlp_only_layers and l + 1 is a multiple of decoder_sparse_step. */
function readMoeLayers(
  fields: ConfigFields,
  architecture: Architecture,
  numLayers: number,
  numExperts: number,
): Uint8Array {
  if (architecture !== "qwen2_moe") return new Uint8Array(numLayers).fill(architecture === "mixtral" ? 1 : 0);
  const step = fields.integer("decoder_sparse_step", 1);
  const dense = new Set(fields.integers("mlp_only_layers") ?? []);
  return Uint8Array.from({ length: numLayers }, (_, layer) =>
    numExperts > 0 && !dense.has(layer) && (layer + 1) % step === 0 ? 1 : 0,
  );
}

function refuseUnread(fields: ConfigFields): void {
  const name = fields.unread().find((unread) => !HARMLESS_FIELDS.has(unread) && !unread.startsWith("_"));
  if (name === undefined) return;
  throw unsupported(
    `Field ${JSON.stringify(name)} (${fields.show(name)}) of ${fields.where} is not known and could change what the model computes.`,
  );
}
