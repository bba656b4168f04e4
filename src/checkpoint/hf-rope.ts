import type { ConfigFields } from "./config-fields.js";
import { badFile, unsupported } from "./refuse.js";
import { checkYarn, completeYarn, type StatedRope } from "./rope-scaling.js";

/** `finetuned` only tells how the weights came about. */
const HARMLESS = ["finetuned"];

/**
 * Reads both forms: `rope_theta` and `rope_scaling` beside each other with `type` (until transformers 4), or `rope_parameters`
 * with `rope_type` (from 5 on). A kind other than default and yarn is refused by its name.
 * @param defaultTheta of the config class. @throws CheckpointError
 */
export function readHfRope(config: ConfigFields, defaultTheta: number, maxPositionEmbeddings: number): StatedRope {
  refusePartialRotary(config);
  const outerTheta = config.number("rope_theta", defaultTheta);
  const outerOriginal = config.integer("original_max_position_embeddings", undefined);
  const forms = ["rope_scaling", "rope_parameters"]
    .map((name) => config.object(name))
    .filter((form) => form !== undefined)
    .map((form) => readForm(form, outerTheta, outerOriginal, maxPositionEmbeddings));
  const [first = { theta: outerTheta, yarn: null }, second = first] = forms;
  if (JSON.stringify(first) !== JSON.stringify(second)) {
    throw badFile(`rope_scaling and rope_parameters of ${config.where} contradict each other.`);
  }
  return first;
}

function readForm(
  form: ConfigFields,
  outerTheta: number,
  outerOriginal: number | undefined,
  maxPositionEmbeddings: number,
): StatedRope {
  const type = readType(form);
  refusePartialRotary(form);
  const theta = form.number("rope_theta", outerTheta);
  const innerOriginal = form.integer("original_max_position_embeddings", undefined);
  for (const name of HARMLESS) form.raw(name);
  if (type === "default") {
    refuseUnread(form);
    return { theta, yarn: null };
  }
  const stated = {
    factor: form.number("factor", undefined),
    originalMaxPositionEmbeddings: innerOriginal ?? outerOriginal,
    betaFast: form.number("beta_fast", undefined),
    betaSlow: form.number("beta_slow", undefined),
    attentionFactor: form.number("attention_factor", undefined),
    mscale: form.number("mscale", undefined),
    mscaleAllDim: form.number("mscale_all_dim", undefined),
    truncate: form.boolean("truncate", undefined),
  };
  refuseUnread(form);
  return { theta, yarn: checkYarn(completeYarn(stated, maxPositionEmbeddings), form.where) };
}

function readType(form: ConfigFields): "default" | "yarn" {
  const newer = form.text("rope_type", undefined);
  const older = form.text("type", undefined);
  if (newer !== undefined && older !== undefined && newer !== older) {
    throw badFile(
      `rope_type ${JSON.stringify(newer)} and type ${JSON.stringify(older)} of ${form.where} contradict each other.`,
    );
  }
  const type = newer ?? older ?? "default";
  if (type !== "default" && type !== "yarn") {
    throw unsupported(
      `Rope type ${JSON.stringify(type)} of ${form.where} is not supported; moescope computes default and yarn.`,
    );
  }
  return type;
}

function refusePartialRotary(fields: ConfigFields): void {
  const share = fields.number("partial_rotary_factor", 1);
  if (share !== 1)
    throw unsupported(`partial_rotary_factor ${share} in ${fields.where} is not supported: rope turns whole heads.`);
}

function refuseUnread(form: ConfigFields): void {
  const [name] = form.unread();
  if (name === undefined) return;
  throw unsupported(
    `Field ${JSON.stringify(name)} (${form.show(name)}) of ${form.where} is not known and could change what the model computes.`,
  );
}
