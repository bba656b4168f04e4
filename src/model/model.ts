/** A checkpoint bound to a device: the noun that a notebook starts with. */
import { notice } from "../ambient-progress.js";
import { withAmbientSignal } from "../ambient-signal.js";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.js";
import type { ModelConfig } from "../checkpoint/model-config.js";
import { planConfigOf } from "../checkpoint/model-config.js";
import type { OllamaDefaults } from "../hub/ollama-params.js";
import { resolveWithDefaults } from "../hub/resolve.js";
import { loadAddon } from "../native/addon.js";
import type { CacheType, Precision, RouteRule, StepContributions } from "../native/binding.js";
import { type Capture, capturePlan } from "../router/capture.js";
import { ExpertLoad } from "../router/expert-load.js";
import { checkInterventions, type LayeredIntervention } from "../router/intervention-check.js";
import { canonicalJson, hashInterventions, layerCacheKeys } from "../router/intervention-keys.js";
import { type Intervention, parseInterventions } from "../router/interventions.js";
import { assertRouteFits } from "../router/route.js";
import { compileRules } from "../router/route-rules.js";
import type { TraceMetadata } from "../router/schema.js";
import { type RouterShape, routerShapeOf } from "../router/shape.js";
import { type ChatMessage, type ChatTemplate, missingChatTemplate } from "../tokenizer/chat-template.js";
import { loadModelText } from "../tokenizer/load.js";
import type { Tokenizer } from "../tokenizer/tokenizer.js";
import { scopedCallbacks } from "./callback-scope.js";
import { type ContributionOptions, contributionsOf } from "./contributions.js";
import { chooseDevice } from "./device.js";
import { Engine } from "./engine.js";
import { CHUNK_ROWS, type ForwardOptions, type ForwardResult, forward } from "./forward.js";
import { type GenerateOptions, type Generation, generate, type StreamChunk, stream } from "./generation.js";
import { languageModelOf, type ModelAsLanguageModel } from "./language-model.js";
import { LayerBase, type LayerBaseOptions } from "./layer-base.js";
import { type LikelihoodOptions, type LikelihoodRequest, type LikelihoodResult, loglikelihood } from "./likelihood.js";
import { checkLoadOptions, type LoadOptions } from "./load-options.js";
import { checkMemory, type MemoryPlan, memoryPlan, memoryWarnings } from "./memory-plan.js";
import { fromNativeError, throwIfAborted } from "./native-error.js";
import { loglikelihoodRolling, type RollingOptions, type RollingResult } from "./rolling.js";
import { tokensWithText } from "./sampling.js";
import type { PrefixKind } from "./scheduler/prefix-tree.js";
import type { SequenceKind } from "./scheduler/sequence.js";
import { profileSteps, type StepProfile } from "./step-profile.js";

/** What a model and its variants with other interventions share. */
export interface ModelParts {
  checkpoint: Checkpoint;
  /** What ollama keeps beside the model; null for any other. */
  ollama: OllamaDefaults | null;
  engine: Engine;
  tokenizer: Tokenizer;
  chatTemplate: ChatTemplate | null;
  /** Tokens that may be drawn, as in SampleSpec; absent: all. */
  allowedTokens?: Uint32Array;
  shape: RouterShape;
  precision: Precision;
  device: string;
  threads: number;
  cacheType: CacheType;
  memory: MemoryPlan;
}

export class Model {
  /** @internal */
  readonly parts: ModelParts;
  /** What is changed about the routing, in the order given. */
  readonly interventions: readonly Intervention[];
  /** @internal */
  readonly rules: readonly RouteRule[];
  /** @internal Where its log-likelihoods start from; absent: nowhere. */
  readonly base: LayerBase | undefined;
  readonly #keys: Pick<PrefixKind, "cacheKey" | "routesKey">;

  /** Use `Model.load`. */
  private constructor(parts: ModelParts, interventions: readonly Intervention[], base?: LayerBase) {
    this.parts = parts;
    this.base = base;
    this.interventions = interventions;
    this.rules = scopedCallbacks(compileRules(interventions, parts.shape), parts.engine);
    this.#keys = keysOf(checkInterventions(interventions, parts.shape), parts.shape);
  }

  /**
   * Loads a model: a folder in Hugging Face form, a .gguf file, "ollama:NAME", or "demo". Weights are mapped, not read.
   * @throws CheckpointError saying what is wrong with the files; InvalidArgumentError for an option
   */
  static async load(model: string, options: LoadOptions = {}): Promise<Model> {
    checkLoadOptions(options);
    const { onProgress, ropeScaling, maxContext, chatTemplate } = options;
    const signal = withAmbientSignal(options.signal);
    throwIfAborted(signal);
    const addon = loadAddon();
    onProgress?.("opening");
    const { path, ollama, ollamaText } = resolveWithDefaults(model);
    const checkpoint = await openCheckpoint(path, { ropeScaling, maxContext });
    const threads = options.threads ?? addon.availableCores();
    const { name: device, precision, cacheType, card } = chooseDevice(addon, options);
    const memory = memoryPlan(checkpoint, {
      ...{ cacheType, kvCacheBytes: options.kvCacheBytes, stepRows: CHUNK_ROWS },
      available: card && { bytes: card.freeBytes, boundBy: "card" },
    });
    checkMemory(memory, maxContext);
    if (options.onMemoryPlan !== undefined) options.onMemoryPlan(memory);
    else for (const warning of memoryWarnings(memory)) notice(warning);
    onProgress?.("tokenizer");
    const { eosTokenIds, vocabSize } = checkpoint.config;
    const loaded = await loadModelText(checkpoint.tokenizer, checkpoint.path, {
      chatTemplate,
      ollama: ollamaText,
      eosTokenIds,
    });
    const text = { ...loaded, allowedTokens: tokensWithText(loaded.tokenizer, vocabSize) };
    throwIfAborted(signal);
    onProgress?.("mapping");
    try {
      const native = await addon.loadModel(checkpoint.plan, { threads, precision, library: card?.library }, null);
      const engine = new Engine(native, native.createSession({ cacheType, chunkRows: CHUNK_ROWS }), {
        bytesPerPosition: memory.kvPerToken,
        kvCacheBytes: memory.kvCacheBytes,
        vocabSize,
        stepRows: CHUNK_ROWS,
      });
      const shape = routerShapeOf(planConfigOf(checkpoint.config));
      onProgress?.("ready");
      return new Model(
        { checkpoint, ollama, engine, ...text, shape, precision, device, threads, cacheType, memory },
        [],
      );
    } catch (error) {
      throw fromNativeError(error);
    }
  }

  /** Hyper-parameters, named as in Hugging Face configs. */
  get config(): ModelConfig {
    return this.parts.checkpoint.config;
  }

  /** What the model was expected to take when it was loaded. */
  get memoryPlan(): MemoryPlan {
    return this.parts.memory;
  }

  get tokenizer(): Tokenizer {
    return this.parts.tokenizer;
  }

  get chatTemplate(): ChatTemplate | null {
    return this.parts.chatTemplate;
  }

  /** What a reader of this model's traces must know. */
  get traceMetadata(): TraceMetadata {
    const { checkpoint, shape, precision, device } = this.parts;
    return {
      ...shape,
      model: checkpoint.path,
      architecture: checkpoint.architecture,
      dtype: commonDtype(checkpoint),
      precision,
      device,
      interventions: this.interventions.length === 0 ? undefined : canonicalJson(this.interventions),
    };
  }

  /**
   * The same weights with a changed router; the model itself stays as it is. Interventions add to those already there.
   * @throws InvalidArgumentError naming the valid range, before anything runs
   */
  with(interventions: Intervention | readonly Intervention[]): Model {
    return new Model(this.parts, [...this.interventions, ...parseInterventions([interventions].flat())]);
  }

  /**
   * What variants that change layers from `layer` upwards have in common, computed once per text: `sharedBelow(L).with(...)` gives models
   * whose log-likelihoods skip the layers below, with the same bits. For scans over the experts of a layer. The caller disposes it.
   */
  sharedBelow(layer: number, options: LayerBaseOptions = {}): LayerBase {
    return new LayerBase(this, layer, options);
  }

  /** @internal */
  withBase(base: LayerBase): Model {
    return new Model(this.parts, this.interventions, base);
  }

  /** Logits and routes of these tokens, from position 0. */
  forward(ids: ArrayLike<number>, options: ForwardOptions = {}): Promise<ForwardResult> {
    return forward(this, ids, options);
  }

  /**
   * What each expert adds to the residual stream, summed natively in one pass over documents (token ids, each from position 0). The sums
   * of each document; `Contributions` makes figures with intervals of them.
   */
  contributions(
    documents: readonly ArrayLike<number>[],
    options: ContributionOptions = {},
  ): Promise<StepContributions[]> {
    return contributionsOf(this, documents, options);
  }

  /** Continues a text, or token ids. Special-token text in a string is read as text. */
  generate(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Promise<Generation> {
    return generate(this, { prompt }, options);
  }

  /** Like `generate`, piece by piece; the last value is the whole. Leaving the loop early cancels the rest. */
  stream(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): AsyncGenerator<StreamChunk, Generation> {
    return stream(this, { prompt }, options);
  }

  /** Answers a conversation, rendered by the model's own chat template. */
  chat(messages: readonly ChatMessage[], options: GenerateOptions = {}): Promise<Generation> {
    return generate(this, { messages }, options);
  }

  /** Like `chat`, piece by piece. */
  streamChat(messages: readonly ChatMessage[], options: GenerateOptions = {}): AsyncGenerator<StreamChunk, Generation> {
    return stream(this, { messages }, options);
  }

  /** How likely continuations are. Contexts that begin alike are computed once. */
  loglikelihood(requests: readonly LikelihoodRequest[], options: LikelihoodOptions = {}): Promise<LikelihoodResult[]> {
    return loglikelihood(this, requests, options);
  }

  /** How likely whole texts are, by windows as long as the context; `perplexityOf` makes perplexities of the results. */
  loglikelihoodRolling(texts: readonly string[], options: RollingOptions = {}): Promise<RollingResult[]> {
    return loglikelihoodRolling(this, texts, options);
  }

  /** Assignments that this model and its variants have computed so far. */
  async expertLoad(): Promise<ExpertLoad> {
    const { shape, engine } = this.parts;
    return new ExpertLoad(await engine.expertCounts(), shape.moeLayers, shape.numExperts);
  }

  /** What `work` returns, and where the time of the steps that it took went. One profile at a time on a model and its variants. */
  profile<T>(work: () => Promise<T>): Promise<{ value: T; profile: StepProfile }> {
    return profileSteps(this.parts.engine, work);
  }

  /** @internal What this model's sequences depend on, and what is recorded of them. */
  kindAt(capture: Capture): SequenceKind {
    const { rules, traceMetadata } = this;
    const widths = rules.map((rule) => Math.max(rule.k ?? 0, rule.routeK ?? 0));
    const topK = Math.max(traceMetadata.numExpertsPerToken, ...widths);
    const { hiddenSize } = this.config;
    return { ...this.#keys, ...capturePlan(capture, traceMetadata), topK, hiddenSize, rules, traceMetadata };
  }

  /** @internal Refuses tokens that a replayed route was not recorded over, naming the first position. */
  checkReplay(tokenIds: Int32Array): void {
    for (const intervention of this.interventions) {
      if (intervention.kind !== "replay" || typeof intervention.route === "string") continue;
      assertRouteFits(intervention.route, tokenIds, 0, intervention.positions);
    }
  }

  /** Token ids of a conversation, special tokens only where the template wrote them. */
  async encodeChat(messages: readonly ChatMessage[]): Promise<{ text: string; ids: Int32Array }> {
    if (this.chatTemplate === null) throw missingChatTemplate(this.parts.checkpoint.path);
    return this.chatTemplate.encode(this.tokenizer, messages);
  }

  /** The view that the eval harness uses. */
  toLanguageModel(): ModelAsLanguageModel {
    return languageModelOf(this);
  }

  /** Unmaps the weights; variants made by `with` go with it. Waits for what is running. */
  async dispose(): Promise<void> {
    await this.parts.engine.dispose();
  }
}

/** What acts before the last keys and values are made, and what acts at all; nothing is shared where an effect has no name. */
function keysOf(
  interventions: readonly LayeredIntervention[],
  shape: RouterShape,
): Pick<PrefixKind, "cacheKey" | "routesKey"> {
  const routesKey = hashInterventions(interventions);
  if (routesKey === undefined) return { cacheKey: undefined, routesKey: "" };
  return { cacheKey: layerCacheKeys(interventions, shape).at(-1), routesKey };
}

/** The storage type that most weights have. */
export function commonDtype(checkpoint: Checkpoint): string {
  const elements = new Map<string, number>();
  for (const { dtype, rows, cols } of checkpoint.plan.tensors) {
    elements.set(dtype, (elements.get(dtype) ?? 0) + rows * cols);
  }
  return [...elements].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "F32";
}
