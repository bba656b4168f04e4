import { readSafetensorsHeader } from "../../../src/checkpoint/safetensors.js";
import { type FuzzTarget, fileWriter, fuzzTarget } from "../target.js";

const write = fileWriter("model.safetensors");

/** The header of a safetensors file. */
export const fuzz: FuzzTarget = fuzzTarget((data) => readSafetensorsHeader(write(data)));
