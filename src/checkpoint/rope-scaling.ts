import { invalidArgument } from "../errors.js";
import type { ModelConfig } from "./model-config.js";
import { badFile } from "./refuse.js";
import { ropeFrequencies, type YarnParameters, yarnAttentionFactor } from "./rope.js";

/** What a caller may say at load: another scaling than the file's, or `null` for none. */
export interface RopeScalingOverride {
  type: "yarn";
  /** > 1 stretches the context; required. */
  factor: number;
  /** Default: what the file says, else its context. */
  originalMaxPositionEmbeddings?: number;
  betaFast?: number;
  betaSlow?: number;
  attentionFactor?: number;
}

/** What a caller may change when a checkpoint is opened. */
export interface ConfigOptions {
  /** Another rope scaling than the file's; null: none. */
  ropeScaling?: RopeScalingOverride | null;
  /** Longest sequence in tokens; default: all that the model can do. */
  maxContext?: number;
}

/** What a file says about rotary embedding. */
export interface StatedRope {
  /** Base of the angles. */
  theta: number;
  yarn: YarnParameters | null;
}

const BETA_FAST = 32;
const BETA_SLOW = 1;
/** Positions are 32-bit integers. */
const LONGEST_CONTEXT = 2 ** 31 - 1;

/** What a file states about YaRN; what it leaves out follows from the paper's defaults. */
export interface StatedYarn extends Partial<Omit<YarnParameters, "factor" | "originalMaxPositionEmbeddings">> {
  factor?: number;
  originalMaxPositionEmbeddings?: number;
  mscale?: number;
  mscaleAllDim?: number;
}

/**
 * Completes YaRN's parameters. Versions of transformers disagree about precedence; here an explicit factor wins over
 * max_position_embeddings / original, and the original context is the stated one, else max_position_embeddings.
 */
export function completeYarn(stated: StatedYarn, maxPositionEmbeddings: number): YarnParameters {
  const original = stated.originalMaxPositionEmbeddings ?? maxPositionEmbeddings;
  const factor = stated.factor ?? maxPositionEmbeddings / original;
  const attentionFactor =
    stated.attentionFactor ??
    (stated.mscale && stated.mscaleAllDim
      ? yarnAttentionFactor(factor, stated.mscale) / yarnAttentionFactor(factor, stated.mscaleAllDim)
      : yarnAttentionFactor(factor));
  return {
    factor,
    originalMaxPositionEmbeddings: original,
    // 0 counts as absent, as in transformers.
    betaFast: stated.betaFast || BETA_FAST,
    betaSlow: stated.betaSlow || BETA_SLOW,
    attentionFactor,
    truncate: stated.truncate ?? true,
  };
}

/** Refuses parameters of a file that mean nothing. @param where names them in messages. @throws CheckpointError */
export function checkYarn(yarn: YarnParameters, where: string): YarnParameters {
  const faults: Array<[keyof YarnParameters, string, (value: number) => boolean]> = [
    ["factor", "a factor from 1 up", (value) => value >= 1],
    ["betaFast", "a beta_fast above 0", (value) => value > 0],
    ["betaSlow", "a beta_slow above 0", (value) => value > 0],
    ["attentionFactor", "an attention factor above 0", (value) => value > 0],
  ];
  for (const [name, expected, isRight] of faults) {
    const value = yarn[name] as number;
    if (!Number.isFinite(value) || !isRight(value))
      throw badFile(`Expected ${expected} for YaRN in ${where}, found ${value}.`);
  }
  return yarn;
}

/** Checks and completes a caller's scaling. @throws InvalidArgumentError */
function yarnOfOverride(
  override: RopeScalingOverride,
  stated: YarnParameters | null,
  maxPosition: number,
): YarnParameters {
  const { type, ...numbers } = override;
  if (type !== "yarn") throw invalidArgument("ropeScaling.type", '"yarn" (or ropeScaling null for none)', type);
  const known = new Set(["factor", "originalMaxPositionEmbeddings", "betaFast", "betaSlow", "attentionFactor"]);
  for (const [name, value] of Object.entries(numbers)) {
    if (!known.has(name)) throw invalidArgument("ropeScaling", `the keys type, ${[...known].join(", ")}`, name);
    const isNumber = typeof value === "number" && Number.isFinite(value) && value > 0;
    if (value !== undefined && !isNumber) throw invalidArgument(`ropeScaling.${name}`, "a number above 0", value);
  }
  if (!(override.factor >= 1)) throw invalidArgument("ropeScaling.factor", "a number of at least 1", override.factor);
  const original = override.originalMaxPositionEmbeddings ?? stated?.originalMaxPositionEmbeddings ?? maxPosition;
  return completeYarn({ ...override, originalMaxPositionEmbeddings: original }, maxPosition);
}

type RopeSettings = Pick<
  ModelConfig,
  "ropeTheta" | "maxPositionEmbeddings" | "maxContext" | "ropeInvFreq" | "ropeAttentionFactor" | "ropeScaling"
>;

/** The rope of a model: the file's, changed as the caller asks. @throws InvalidArgumentError */
export function ropeSettings(
  headDim: number,
  stated: StatedRope,
  maxPositionEmbeddings: number,
  options: ConfigOptions,
): RopeSettings {
  const { ropeScaling: asked, maxContext } = options;
  const override =
    asked === null || asked === undefined ? asked : yarnOfOverride(asked, stated.yarn, maxPositionEmbeddings);
  const yarn = override === undefined ? stated.yarn : override;
  const frequencies = ropeFrequencies(headDim, stated.theta, yarn);
  return {
    ropeTheta: stated.theta,
    maxPositionEmbeddings,
    maxContext: contextLength(maxPositionEmbeddings, yarn, maxContext),
    ropeInvFreq: frequencies.invFreq,
    ropeAttentionFactor: frequencies.attentionFactor,
    ropeScaling: frequencies.scaling,
  };
}

/**
 * The longest sequence that a model is opened for.
 * @param asked a caller's wish, at most what the model can do. @throws InvalidArgumentError
 */
function contextLength(maxPosition: number, yarn: YarnParameters | null, asked: number | undefined): number {
  const stretched = yarn === null ? 0 : Math.floor(yarn.originalMaxPositionEmbeddings * yarn.factor);
  const most = Math.min(Math.max(maxPosition, stretched), LONGEST_CONTEXT);
  if (asked === undefined) return most;
  if (!Number.isInteger(asked) || asked < 1)
    throw invalidArgument("maxContext", "a whole number of tokens above 0", asked);
  if (asked > most) {
    throw invalidArgument("maxContext", `at most the ${most} tokens of this model (ropeScaling stretches them)`, asked);
  }
  return asked;
}
