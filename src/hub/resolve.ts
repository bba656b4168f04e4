/** What a user calls a model, as a path. */
import { join } from "node:path";
import { packageRoot } from "../native/addon.js";
import { type OllamaDefaults, ollamaDefaults } from "./ollama-params.js";
import { findOllamaModel, type OllamaModel } from "./ollama-store.js";

const OLLAMA = "ollama:";

/** A model's files, and what its store says beside them. */
export interface ResolvedModel {
  path: string;
  /** For a model that ollama has pulled. */
  ollama: OllamaDefaults | null;
  ollamaText?: Pick<OllamaModel, "template" | "messages">;
}

/** As `resolveModel`, with the parameters, template and messages that ollama keeps beside a model. */
export function resolveWithDefaults(name: string): ResolvedModel {
  if (!name.startsWith(OLLAMA)) return { path: resolveModel(name), ollama: null };
  const { path, params, template, messages } = findOllamaModel(name.slice(OLLAMA.length));
  return { path, ollama: ollamaDefaults(params, name), ollamaText: { template, messages } };
}

/**
 * "demo" is the embedded model, "ollama:NAME[:TAG]" one that ollama has pulled; anything else is a path.
 * Throws what `findOllamaModel` throws.
 */
export function resolveModel(name: string): string {
  if (name.startsWith(OLLAMA)) return findOllamaModel(name.slice(OLLAMA.length)).path;
  return name === "demo" ? join(packageRoot(), "models", "demo") : name;
}
