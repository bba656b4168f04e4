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

/** A peer whose folder is known and holds it. */
export interface Peer {
  name: PeerName;
  folder: string;
}

/** Throws InvalidArgumentError where no place is named, NOT_FOUND where the peer is not there. */
export function findPeer({ name, path = process.env[VARIABLES[name]] }: PeerPlace): Peer {
  if (path === undefined || path === "") {
    throw new InvalidArgumentError(`Expected ${PLACES[name]} as --peer-path or in ${VARIABLES[name]}, got none.`);
  }
  if (name === "llama.cpp") LlamaCpp.check(path);
  else NodeLlamaCpp.check(path);
  return { name, folder: path };
}

/** Throws InvalidArgumentError for a model that the peer does not read. */
export async function startPeer(peer: Peer, options: ContenderOptions, signal: AbortSignal): Promise<Contender> {
  if (!options.modelPath.endsWith(".gguf")) {
    throw new InvalidArgumentError(`Expected a .gguf file, which ${peer.name} reads, got ${options.modelPath}.`);
  }
  return peer.name === "llama.cpp"
    ? LlamaCpp.start(peer.folder, options, signal)
    : NodeLlamaCpp.start(peer.folder, options);
}
