import { tokenizerFromFiles } from "../../../src/tokenizer/from-files.js";
import { type FuzzTarget, fileWriter, fuzzTarget } from "../target.js";

const write = fileWriter("tokenizer.json");

/** tokenizer.json, and texts through the tokenizer that it describes. */
export const fuzz: FuzzTarget = fuzzTarget(async (data) => {
  const files = { tokenizerJson: write(data), tokenizerConfig: null, chatTemplate: null };
  const { tokenizer } = await tokenizerFromFiles(files, "a folder");
  const ids = await tokenizer.encode("Two words\n<s> 你好 123");
  await tokenizer.decode(ids);
});
