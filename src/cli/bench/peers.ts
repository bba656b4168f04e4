/** The engines that ours is measured beside, each from a place that the user names. */
import { InvalidArgumentError } from "../../errors.js";
import type { Contender, ContenderOptions } from "./contender.js";
import { LlamaCpp } from "./llama-cpp.js";
import { NodeLlamaCpp } from "./node-llama-cpp.js";

export const PEERS = ["llama.cpp", "node-llama-cpp"] as const;
export type PeerName = (typeof PEERS)[number];

export interface PeerPlace {
  name: PeerName;
  path?: string;
}

const VARIABLES: Readonly<Record<PeerName, string>> = {
  "llama.cpp": "MOESCOPE_LLAMA_CPP",
  "node-llama-cpp": "MOESCOPE_NODE_LLAMA_CPP",
};

const PLACES: Readonly<Record<PeerName, string>> = {
  "llama.cpp": "the folder with llama-bench",
  "node-llama-cpp": "a folder in which node-llama-cpp is installed",
};

/** Throws InvalidArgumentError where no place is named, NOT_FOUND where the peer is not there. */
export async function startPeer(place: PeerPlace, options: ContenderOptions, signal: AbortSignal): Promise<Contender> {
  const path = place.path ?? process.env[VARIABLES[place.name]];
  if (path === undefined || path === "") {
    throw new InvalidArgumentError(
      `Expected ${PLACES[place.name]} as --peer-path or in ${VARIABLES[place.name]}, got none.`,
    );
  }
  if (!options.modelPath.endsWith(".gguf")) {
    throw new InvalidArgumentError(`Expected a .gguf file, which ${place.name} reads, got ${options.modelPath}.`);
  }
  return place.name === "llama.cpp" ? LlamaCpp.start(path, options, signal) : NodeLlamaCpp.start(path, options, signal);
}
