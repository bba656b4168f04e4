import { describe } from "../errors.js";
import { refusePlaceholder, withFile } from "./file-source.js";
import { badFile } from "./refuse.js";
import { type JsonObject, parseStrictJson } from "./strict-json.js";

/** Far above any config; a tokenizer.json of 250,000 tokens has about 20 MB. */
const MAX_BYTES = 128 << 20;
const MAX_DEPTH = 64;

/** Reads a JSON file whose value is an object. @throws CheckpointError */
export function readJsonFile(path: string): JsonObject {
  return withFile(path, (source) => {
    refusePlaceholder(source);
    if (source.sizeBytes > MAX_BYTES) {
      throw badFile(`Expected at most ${MAX_BYTES} bytes of JSON in ${path}, found ${source.sizeBytes}.`);
    }
    const value = parseStrictJson(source.read(0, source.sizeBytes), {
      source: path,
      maxDepth: MAX_DEPTH,
      numbers: "any",
    });
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw badFile(`Expected a JSON object in ${path}, found ${describe(value)}.`);
    }
    return value;
  });
}
