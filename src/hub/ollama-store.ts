/**
 * Models that ollama has pulled, read where they lie: a manifest per name and tag lists layers, each a blob named by its digest.
 * Layout: ollama `manifest/paths.go`, `server/images.go`.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { CheckpointError, describe, fromSystemError, invalidArgument } from "../errors.js";

/** What a name of ollama stands for. */
export interface OllamaModel {
  /** The weights: a GGUF file. */
  path: string;
  /** A Go template; null where the model has none. */
  template: string | null;
  /** Messages that come before every conversation: the model's system prompt, then its examples. */
  messages: { role: string; content: string }[];
  /** Sampling parameters and stop strings, as ollama names them, e.g. `{ stop: ["<|im_end|>"], temperature: 0.7 }`. */
  params: Record<string, unknown>;
  licence: string | null;
}

const DEFAULT_REGISTRY = "registry.ollama.ai";
const DEFAULT_NAMESPACE = "library";
const DEFAULT_TAG = "latest";
const LAYER = "application/vnd.ollama.image.";
/** A part of a name, which becomes a part of a path: no separators, and no dot in front. */
const NAME_PART = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
const REGISTRY = /^[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?$/;
const DIGEST = /^sha256[:-][0-9a-fA-F]{64}$/;
/** Of manifests and of layers that are text. */
const MAX_TEXT_BYTES = 4 << 20;

/** Folders that may hold models: the one that is set, else the user's and the one of the Linux service. */
export function ollamaFolders(environment: NodeJS.ProcessEnv = process.env): string[] {
  const set = environment.OLLAMA_MODELS;
  if (set !== undefined && set !== "") return [set];
  return [join(homedir(), ".ollama", "models"), "/usr/share/ollama/.ollama/models"];
}

/**
 * Finds a pulled model. @param name `[registry/][namespace/]name[:tag]`, as in `ollama run`.
 * Throws INVALID_ARGUMENT for what is no name, NOT_FOUND for a model that is not pulled, BAD_FILE for a broken store,
 * UNSUPPORTED for a model that is an adapter on another.
 */
export function findOllamaModel(name: string, folders: readonly string[] = ollamaFolders()): OllamaModel {
  const parts = manifestParts(name);
  const folder = folders.find((candidate) => existsSync(join(candidate, "manifests", ...parts)));
  if (folder === undefined) {
    throw new CheckpointError(
      "NOT_FOUND",
      `Ollama has no model ${name} in ${folders.join(" or ")}: run "ollama pull ${name}" (OLLAMA_MODELS names another folder).`,
    );
  }
  const manifest = join(folder, "manifests", ...parts);
  const layers = layersOf(manifest);
  if (layers.has("adapter")) {
    throw new CheckpointError("UNSUPPORTED", `${name} is an adapter on another model, which is not supported.`);
  }
  const weights = layers.get("model");
  if (weights === undefined) {
    throw new CheckpointError("BAD_FILE", `Expected a layer with weights in ${manifest}, found none.`);
  }
  const text = (kind: string): string | null => {
    const layer = layers.get(kind);
    return layer === undefined ? null : readText(blobPath(folder, layer, manifest));
  };
  return {
    path: blobPath(folder, weights, manifest),
    template: text("template"),
    messages: messagesOf(text("system"), text("messages"), name),
    params: parseObject(text("params") ?? "{}", `the parameters of ${name}`),
    licence: text("license"),
  };
}

function messagesOf(system: string | null, examples: string | null, name: string): OllamaModel["messages"] {
  const messages = system === null || system === "" ? [] : [{ role: "system", content: system }];
  const listed = examples === null ? [] : parseJson(examples, `the messages of ${name}`);
  const isMessage = (item: unknown): item is { role: string; content: string } =>
    typeof (item as { role?: unknown } | null)?.role === "string" &&
    typeof (item as { content?: unknown }).content === "string";
  if (Array.isArray(listed) && listed.every(isMessage)) return [...messages, ...listed];
  throw new CheckpointError("BAD_FILE", `Expected a list of { role, content } as the messages of ${name}.`);
}

/** Registry, namespace, name and tag. */
function manifestParts(text: string): string[] {
  const parts = text.split("/");
  const [, last = "", tag = DEFAULT_TAG] = /^([^:]*)(?::(.*))?$/.exec(parts.pop()!) ?? [];
  const namespace = parts.pop() ?? DEFAULT_NAMESPACE;
  const registry = parts.pop() ?? DEFAULT_REGISTRY;
  const isName = parts.length === 0 && REGISTRY.test(registry) && [namespace, last, tag].every(isNamePart);
  if (!isName) throw invalidArgument("the model", "ollama:[registry/][namespace/]name[:tag]", `ollama:${text}`);
  return [registry, namespace, last, tag];
}

function isNamePart(part: string): boolean {
  return NAME_PART.test(part);
}

interface Layer {
  digest: string;
  size: number;
}

/** By kind: model, template, system, params, license, adapter. Of several licences the first. */
function layersOf(manifest: string): Map<string, Layer> {
  const { layers } = parseObject(readText(manifest), manifest);
  if (!Array.isArray(layers)) {
    throw new CheckpointError("BAD_FILE", `Expected a list of layers in ${manifest}, found ${describe(layers)}.`);
  }
  const found = new Map<string, Layer>();
  for (const layer of layers as unknown[]) {
    const { mediaType, digest, size } = (layer ?? {}) as Record<string, unknown>;
    if (typeof mediaType !== "string" || typeof digest !== "string" || !DIGEST.test(digest) || !isSize(size)) {
      throw new CheckpointError(
        "BAD_FILE",
        `Expected a media type, a sha256 digest and a size for every layer of ${manifest}.`,
      );
    }
    const kind = mediaType.startsWith(LAYER) ? mediaType.slice(LAYER.length) : mediaType;
    if (!found.has(kind)) found.set(kind, { digest, size });
  }
  return found;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Old installations write the digest with a colon. */
function blobPath(folder: string, { digest, size }: Layer, manifest: string): string {
  const hexadecimal = digest.slice("sha256:".length);
  const candidates = ["-", ":"].map((separator) => join(folder, "blobs", `sha256${separator}${hexadecimal}`));
  const path = candidates.find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new CheckpointError(
      "NOT_FOUND",
      `${candidates[0]}, which ${manifest} names, does not exist: pull the model again.`,
    );
  }
  const found = statSync(path).size;
  if (found === size) return path;
  throw new CheckpointError(
    "BAD_FILE",
    `Expected ${size} bytes in ${path}, as ${manifest} says, found ${found}: the download has not finished.`,
  );
}

function readText(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > MAX_TEXT_BYTES) {
      throw new CheckpointError("BAD_FILE", `Expected at most ${MAX_TEXT_BYTES} bytes in ${path}, found ${size}.`);
    }
    return readFileSync(path, "utf8");
  } catch (error) {
    throw fromSystemError(error, `read ${path}`);
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError("BAD_FILE", `Expected JSON in ${where}, found other text.`, { cause });
  }
}

function parseObject(text: string, where: string): Record<string, unknown> {
  const value = parseJson(text, where);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new CheckpointError("BAD_FILE", `Expected a JSON object in ${where}, found ${describe(value)}.`);
}
