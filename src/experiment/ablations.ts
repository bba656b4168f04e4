/** Answers of a model without some of its experts, each kept as soon as it is there, so that a long scan can go on after it was stopped. */

import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fromSystemError, invalidArgument, MoescopeError } from "../errors.js";
import { canonicalJson, sha256 } from "../eval/canonical-json.js";
import type { LayerBase } from "../model/layer-base.js";
import type { Model } from "../model/model.js";
import { ablate } from "../router/intervention-builders.js";
import { isNamed } from "../router/intervention-keys.js";
import type { Intervention } from "../router/interventions.js";
import { checkSlots, type ExpertSlot, slotsLabel } from "./expert-slots.js";
import type { Answer, Questions } from "./questions.js";
import type { ScoredLine } from "./scored-lines.js";
import { askSharingLayers } from "./shared-layers.js";

/** `zero` removes an expert's contribution; `mask` routes around it, and the others share the mass. */
export const ABLATION_MODES: readonly ["zero", "mask"] = ["zero", "mask"];
export type AblationMode = (typeof ABLATION_MODES)[number];

/** The interventions that take experts out, one for each layer. */
export function ablationOf(slots: readonly ExpertSlot[], mode: AblationMode): Intervention[] {
  const layers = [...new Set(slots.map(({ layer }) => layer))].sort((a, b) => a - b);
  return layers.map((layer) => {
    const experts = slots.filter((slot) => slot.layer === layer).map(({ expert }) => expert);
    return ablate({ layers: [layer], experts: experts.sort((a, b) => a - b), mode });
  });
}

export interface AblationOptions {
  mode: AblationMode;
  /** A folder for the answers; a second call with the same model, questions and mode takes what is there. */
  out?: string;
  signal?: AbortSignal;
}

const FILE = "answers.jsonl";

/** Asks the questions of a model and of its ablations, each set of experts once. */
export class Ablations {
  readonly model: Model;
  readonly questions: Questions;
  readonly mode: AblationMode;
  readonly #options: AblationOptions;
  readonly #known: Map<string, Answer[]>;
  readonly #file: string | undefined;
  /** Seconds that answers took, of this call and of earlier ones. */
  seconds = 0;

  private constructor(model: Model, questions: Questions, options: AblationOptions, known: Map<string, Answer[]>) {
    this.model = model;
    this.questions = questions;
    this.mode = options.mode;
    this.#options = options;
    this.#known = known;
    this.#file = options.out === undefined ? undefined : join(options.out, FILE);
  }

  /** @throws MoescopeError RUN_CONFLICT where `out` holds answers of another model, other questions or another mode. */
  static async open(model: Model, questions: Questions, options: AblationOptions): Promise<Ablations> {
    if (!ABLATION_MODES.includes(options.mode))
      throw invalidArgument("mode", ABLATION_MODES.join(" or "), options.mode);
    const { device: _, engine: __, ...described } = await model.toLanguageModel().describe();
    const identity = sha256(canonicalJson({ model: described, questions: questions.identity, mode: options.mode }));
    const known = options.out === undefined ? new Map() : await openFile(options.out, identity);
    return new Ablations(model, questions, options, known);
  }

  /** The answers without these experts; of none, those of the model itself. */
  async without(
    slots: readonly ExpertSlot[],
    onProgress?: (done: number, total: number) => void,
    base: Model | LayerBase = this.model,
  ): Promise<Answer[]> {
    checkSlots(slots, this.model.parts.shape);
    const key = keyOf(slots);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const started = performance.now();
    const model = slots.length === 0 ? this.model : base.with(ablationOf(slots, this.mode));
    const answers = await this.questions.ask(model, { signal: this.#options.signal, onProgress });
    await this.#keep(key, answers, (performance.now() - started) / 1000);
    return answers;
  }

  /**
   * Asks several sets at once, so that ablations share the layers below the first one that they touch, wherever log-likelihoods are asked:
   * lines many sets at a time, other questions set by set, layer by layer. `onProgress` gets the sets that are done. What was asked before is not asked again.
   */
  async withoutEach(
    sets: readonly (readonly ExpertSlot[])[],
    onProgress?: (done: number, total: number, label: string) => void,
  ): Promise<Answer[][]> {
    for (const slots of sets) checkSlots(slots, this.model.parts.shape);
    const { lines } = this.questions;
    if (lines !== undefined) await this.#askSharing(lines, sets, onProgress);
    else await this.#askByLayer(sets, onProgress);
    return Promise.all(sets.map((slots) => this.without(slots)));
  }

  async #askByLayer(
    sets: readonly (readonly ExpertSlot[])[],
    onProgress?: (done: number, total: number, label: string) => void,
  ): Promise<void> {
    const firstLayer = (slots: readonly ExpertSlot[]) => Math.min(...slots.map(({ layer }) => layer));
    const ordered = [...sets].sort((a, b) => firstLayer(a) - firstLayer(b));
    let base: LayerBase | undefined;
    try {
      for (const [done, slots] of ordered.entries()) {
        onProgress?.(done, sets.length, slotsLabel(slots));
        const layer = firstLayer(slots);
        const mayShare = layer > 0 && slots.length > 0 && this.model.interventions.every(isNamed);
        if (base?.layer !== layer) {
          await base?.dispose();
          base = mayShare ? this.model.sharedBelow(layer) : undefined;
        }
        await this.without(slots, undefined, base);
      }
    } finally {
      await base?.dispose();
    }
  }

  async #askSharing(
    lines: readonly ScoredLine[],
    sets: readonly (readonly ExpertSlot[])[],
    onProgress?: (done: number, total: number, label: string) => void,
  ): Promise<void> {
    const missing = [...new Map(sets.map((slots) => [keyOf(slots), slots]))].filter(([key]) => !this.#known.has(key));
    const ablations = missing.map(([, slots]) => ({
      model: slots.length === 0 ? this.model : this.model.with(ablationOf(slots, this.mode)),
      firstLayer: Math.min(...slots.map(({ layer }) => layer), this.model.config.numLayers - 1),
    }));
    let started = performance.now();
    let done = sets.length - missing.length;
    await askSharingLayers(this.model, lines, ablations, {
      signal: this.#options.signal,
      onAnswers: async (index, answers) => {
        const seconds = (performance.now() - started) / 1000;
        started = performance.now();
        onProgress?.(++done, sets.length, slotsLabel(missing[index]![1]));
        await this.#keep(missing[index]![0], answers, seconds);
      },
    });
  }

  async #keep(key: string, answers: Answer[], seconds: number): Promise<void> {
    this.seconds += seconds;
    this.#known.set(key, answers);
    if (this.#file !== undefined) await append(this.#file, { experts: key, seconds, answers });
  }
}

function keyOf(slots: readonly ExpertSlot[]): string {
  return slots
    .map(({ layer, expert }) => `${layer}.${expert}`)
    .sort()
    .join(" ");
}

/** The answers of a folder: a line for the identity, then one for each set of experts; a torn last line is passed over. */
async function openFile(out: string, identity: string): Promise<Map<string, Answer[]>> {
  const file = join(out, FILE);
  const known = new Map<string, Answer[]>();
  try {
    await mkdir(out, { recursive: true });
    const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    const [header, ...lines] = whole.split("\n").filter((line) => line !== "");
    if (header === undefined) {
      await append(file, { identity });
      return known;
    }
    if (JSON.parse(header).identity !== identity) {
      throw new MoescopeError(
        "RUN_CONFLICT",
        `Expected answers of this model to these questions in ${out}, it holds others: name another folder.`,
      );
    }
    for (const line of lines) {
      const { experts, answers } = JSON.parse(line) as { experts: string; answers: Answer[] };
      known.set(experts, answers);
    }
    if (whole.length < text.length) await truncate(file, Buffer.byteLength(whole));
    return known;
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new MoescopeError("BAD_FILE", `Expected lines of JSON in ${file}: ${error.message}.`, { cause: error });
    }
    throw fromSystemError(error, `open the scan ${out}`);
  }
}

async function truncate(file: string, bytes: number): Promise<void> {
  const handle = await open(file, "r+");
  try {
    await handle.truncate(bytes);
  } finally {
    await handle.close();
  }
}

async function append(file: string, value: object): Promise<void> {
  try {
    const handle = await open(file, "a");
    try {
      await handle.appendFile(`${JSON.stringify(value)}\n`);
      await handle.datasync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromSystemError(error, `write ${file}`);
  }
}
