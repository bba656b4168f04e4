import type { CacheType, PlanConfig } from "../native/binding.js";
import { badFile, unsupported } from "./refuse.js";
import type { RopeScaling } from "./rope.js";

export type Architecture = "qwen2_moe" | "mixtral" | "llama" | "qwen2";

/** A model's hyper-parameters, whatever file they came from; names as in Hugging Face configs. */
export interface ModelConfig extends PlanConfig {
  architecture: Architecture;
  /** The context that the file states; `maxContext` is what this model is opened with. */
  maxPositionEmbeddings: number;
  ropeTheta: number;
  /** The scaling in effect, or null. */
  ropeScaling: RopeScaling | null;
  /** Whether q, k and v have biases. */
  attentionBias: boolean;
  /** Whether the embedding matrix serves as head. */
  tieWordEmbeddings: boolean;
  /** Every token that ends a text: the union of what all files of the checkpoint say. Ascending. */
  eosTokenIds: number[];
  bosTokenId: number | null;
}

/** The part that native code needs. */
export function planConfigOf(config: ModelConfig): PlanConfig {
  return {
    architecture: config.architecture,
    numLayers: config.numLayers,
    hiddenSize: config.hiddenSize,
    intermediateSize: config.intermediateSize,
    numAttentionHeads: config.numAttentionHeads,
    numKeyValueHeads: config.numKeyValueHeads,
    headDim: config.headDim,
    vocabSize: config.vocabSize,
    rmsNormEps: config.rmsNormEps,
    maxContext: config.maxContext,
    ropeLayout: config.ropeLayout,
    ropeInvFreq: config.ropeInvFreq,
    ropeAttentionFactor: config.ropeAttentionFactor,
    isMoeLayer: config.isMoeLayer,
    numExperts: config.numExperts,
    numExpertsPerToken: config.numExpertsPerToken,
    normTopkProb: config.normTopkProb,
    moeIntermediateSize: config.moeIntermediateSize,
    sharedExpertIntermediateSize: config.sharedExpertIntermediateSize,
  };
}

/**
 * Bounds far above any model that exists. They keep a hostile config from asking for memory before its tensors, which are not
 * there, are looked for.
 */
const MAX_LAYERS = 4096;
const MAX_HEAD_DIM = 4096;
/** Expert ids travel as uint16, and 65535 marks an empty slot. */
const MAX_EXPERTS = 65535;

/** The sizes that must agree before anything is derived from them. */
export type ModelSizes = Pick<
  ModelConfig,
  | "numLayers"
  | "hiddenSize"
  | "numAttentionHeads"
  | "numKeyValueHeads"
  | "headDim"
  | "vocabSize"
  | "rmsNormEps"
  | "ropeTheta"
  | "numExperts"
  | "numExpertsPerToken"
>;

/** Refuses sizes that contradict one another. `where` names the file. @throws CheckpointError */
export function checkModelSizes(sizes: ModelSizes, where: string): void {
  const { numLayers, numAttentionHeads, numKeyValueHeads, headDim, rmsNormEps, ropeTheta } = sizes;
  if (numLayers > MAX_LAYERS) throw badFile(`Expected at most ${MAX_LAYERS} layers in ${where}, found ${numLayers}.`);
  if (!(sizes.vocabSize >= 1))
    throw badFile(`Expected a token embedding with rows in ${where}, found ${sizes.vocabSize}.`);
  if (numKeyValueHeads > numAttentionHeads || numAttentionHeads % numKeyValueHeads !== 0) {
    throw badFile(
      `Expected the number of key/value heads to divide the ${numAttentionHeads} attention heads of ${where}, found ` +
        `${numKeyValueHeads}.`,
    );
  }
  if (!Number.isInteger(headDim)) {
    throw badFile(
      `Expected hidden_size ${sizes.hiddenSize} to be a multiple of the ${numAttentionHeads} attention heads of ${where}, ` +
        "which does not say head_dim.",
    );
  }
  if (headDim % 2 !== 0)
    throw unsupported(`A head_dim that is odd (${headDim} in ${where}) is not supported: rope turns pairs.`);
  if (headDim > MAX_HEAD_DIM) throw badFile(`Expected a head_dim up to ${MAX_HEAD_DIM} in ${where}, found ${headDim}.`);
  if (!(rmsNormEps > 0 && rmsNormEps < 1)) {
    throw badFile(`Expected an rms norm epsilon between 0 and 1 in ${where}, found ${rmsNormEps}.`);
  }
  if (!(ropeTheta > 1 && Number.isFinite(ropeTheta))) {
    throw badFile(`Expected a rope base (theta) above 1 in ${where}, found ${ropeTheta}.`);
  }
  if (sizes.numExperts >= MAX_EXPERTS) {
    throw unsupported(`More than ${MAX_EXPERTS - 1} experts (${sizes.numExperts} in ${where}) are not supported.`);
  }
  if (sizes.numExperts > 0 && !(sizes.numExpertsPerToken >= 1 && sizes.numExpertsPerToken <= sizes.numExperts)) {
    throw badFile(
      `Expected 1 to ${sizes.numExperts} experts per token in ${where}, which has ${sizes.numExperts} experts, found ` +
        `${sizes.numExpertsPerToken}.`,
    );
  }
}

/** Refuses widths of FFNs that are no widths. @throws CheckpointError */
export function checkWidths(config: ModelConfig, where: string): void {
  const widths: Array<[boolean, string, number]> = [
    [config.isMoeLayer.includes(0), "the dense layers", config.intermediateSize],
    [config.isMoeLayer.includes(1), "the experts", config.moeIntermediateSize],
    [
      config.architecture === "qwen2_moe" && config.numExperts > 0,
      "the shared expert",
      config.sharedExpertIntermediateSize,
    ],
  ];
  for (const [isUsed, what, width] of widths) {
    if (isUsed && !(Number.isInteger(width) && width > 0)) {
      throw badFile(`Expected a whole number above 0 as width of ${what} of ${where}, found ${width}.`);
    }
  }
}

/** Refuses a token id that the model has no row for. @throws CheckpointError */
export function checkTokenId(id: number, name: string, vocabSize: number, where: string): void {
  if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
    throw badFile(`Expected ${name} of ${where} to be a token from 0 to ${vocabSize - 1}, found ${id}.`);
  }
}

/** Parameters in all, and those that take part in one token: all but the experts that were not chosen and the embedding rows. */
export interface ParameterCounts {
  numParameters: number;
  numActiveParameters: number;
}

/** Counts from the config alone; every tensor of a plan has the shape that the config says. */
export function countParameters(config: ModelConfig): ParameterCounts {
  const embedding = config.vocabSize * config.hiddenSize;
  const qRows = config.numAttentionHeads * config.headDim;
  const kvRows = 2 * config.numKeyValueHeads * config.headDim;
  const bias = config.attentionBias ? qRows + kvRows : 0;
  const common = (2 * qRows + kvRows + 2) * config.hiddenSize + bias;
  const dense = 3 * config.hiddenSize * config.intermediateSize;
  const expert = 3 * config.hiddenSize * config.moeIntermediateSize;
  const shared = config.sharedExpertIntermediateSize;
  const sharedExpert = shared === 0 ? 0 : (3 * shared + 1) * config.hiddenSize;
  const always = config.numExperts * config.hiddenSize + sharedExpert;

  let numParameters = embedding * (config.tieWordEmbeddings ? 1 : 2) + config.hiddenSize;
  let numActiveParameters = embedding + config.hiddenSize;
  for (const isMoe of config.isMoeLayer) {
    numParameters += common + (isMoe ? always + config.numExperts * expert : dense);
    numActiveParameters += common + (isMoe ? always + config.numExpertsPerToken * expert : dense);
  }
  return { numParameters, numActiveParameters };
}

/** Bytes that one more token takes in the key/value cache. */
export function kvCacheBytesPerToken(config: PlanConfig, cacheType: CacheType): number {
  const { headDim } = config;
  const headBytes = {
    f32: 4 * headDim,
    bf16: 2 * headDim,
    f16: 2 * headDim,
    q8_0: headDim + 2 * Math.ceil(headDim / 32),
  };
  return 2 * config.numLayers * config.numKeyValueHeads * headBytes[cacheType];
}
