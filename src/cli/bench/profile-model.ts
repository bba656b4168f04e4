/** Where the time of decode and prefill goes. */
import { basename } from "node:path";
import { Model } from "../../index.js";
import type { StepProfile } from "../../model/step-profile.js";
import type { BenchSettings } from "./bench-model.js";
import { RandomTokens } from "./contender.js";
import { profileTable } from "./report.js";

export interface ModelProfile {
  decode: StepProfile;
  prefill: StepProfile;
  text: string;
}

/** Ops by layer that are shown, the longest first; JSON has all. */
const LAYERS_SHOWN = 12;

export async function profileModel(path: string, { load, quick, signal }: BenchSettings): Promise<ModelProfile> {
  const model = await Model.load(path, { ...load, signal });
  try {
    const tokens = new RandomTokens(model.config.vocabSize, 1);
    const promptTokens = Math.min(512, model.config.maxContext - 1);
    const prefillWork = () => model.forward(tokens.take(promptTokens), { signal });
    const options = { maxTokens: quick ? 32 : 128, temperature: 0, presencePenalty: 100, signal };
    const decodeWork = () => model.generate(tokens.take(1), options);
    await prefillWork();
    await decodeWork();
    const { profile: decode } = await model.profile(decodeWork);
    const { profile: prefill } = await model.profile(prefillWork);
    return { decode, prefill, text: `${section(path, "decode", decode)}\n${section(path, "prefill", prefill)}` };
  } finally {
    await model.dispose();
  }
}

function section(path: string, work: string, profile: StepProfile): string {
  const layers = profile.byLayer().filter(({ layer }) => layer !== null);
  return (
    `${basename(path)}, ${work}\n${profileTable(profile, profile.byOp())}\n\n` +
    `the longest by layer\n${profileTable(profile, layers.slice(0, LAYERS_SHOWN))}\n`
  );
}
