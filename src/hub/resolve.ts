/** What a user calls a model, as a path. */
import { join } from "node:path";
import { packageRoot } from "../native/addon.js";
import { findOllamaModel } from "./ollama-store.js";

const OLLAMA = "ollama:";

/**
 * "demo" is the embedded model, "ollama:NAME[:TAG]" one that ollama has pulled; anything else is a path.
 * Throws what `findOllamaModel` throws.
 */
export function resolveModel(name: string): string {
  if (name.startsWith(OLLAMA)) return findOllamaModel(name.slice(OLLAMA.length)).path;
  return name === "demo" ? join(packageRoot(), "models", "demo") : name;
}
