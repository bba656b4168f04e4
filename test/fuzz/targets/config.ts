import { parseHfConfig } from "../../../src/checkpoint/hf-config.js";
import { parseStrictJson } from "../../../src/checkpoint/strict-json.js";
import { type FuzzTarget, fuzzTarget } from "../target.js";

/** config.json of a Hugging Face folder. */
export const fuzz: FuzzTarget = fuzzTarget((data) => {
  const json = parseStrictJson(data, { source: "config.json", maxDepth: 16, numbers: "any" });
  if (typeof json === "object" && json !== null && !Array.isArray(json)) parseHfConfig(json, "config.json");
});
