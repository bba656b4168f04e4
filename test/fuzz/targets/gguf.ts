import { openCheckpoint } from "../../../src/checkpoint/checkpoint.js";
import { loadModelText } from "../../../src/tokenizer/load.js";
import { type FuzzTarget, fileWriter, fuzzTarget } from "../target.js";

const write = fileWriter("model.gguf");

/** Header, config, load plan, tokenizer and template of a GGUF file. */
export const fuzz: FuzzTarget = fuzzTarget(async (data) => {
  const path = write(data);
  const checkpoint = await openCheckpoint(path);
  const { tokenizer } = await loadModelText(checkpoint.tokenizer, path);
  await tokenizer.encode("two words");
});
