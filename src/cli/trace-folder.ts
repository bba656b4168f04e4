/**
 * The folder that `trace` and `generate --trace` write: `part-00000.parquet` and on (or `.arrow`) with the routes, at level hidden also
 * `hidden-00000.safetensors` and on, and `counts.json` with the expert load and where all of it comes from.
 */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSafetensors } from "../checkpoint/safetensors-writer.js";
import { fromSystemError, MoescopeError } from "../errors.js";
import type { Model } from "../model/model.js";
import { packageVersion } from "../native/addon.js";
import type { CaptureLevel } from "../native/binding.js";
import { ExpertLoad } from "../router/expert-load.js";
import { RouterTrace } from "../router/trace.js";
import { partsOfSize, SHARD_BYTES, saveTrace } from "../router/trace-files.js";
import { toJson } from "./io.js";

export type TraceFormat = "parquet" | "arrow";

/** Expert load, and the tokens that it comes from. */
export interface TracedLoad {
  load: ExpertLoad;
  tokens: number;
}

export class TraceFolder {
  readonly path: string;
  readonly #format: TraceFormat;
  readonly #provenance: Readonly<Record<string, string>>;
  #waiting: RouterTrace[] = [];
  #waitingBytes = 0;
  #parts = 0;
  #tokens = 0;
  #load: ExpertLoad | undefined;

  private constructor(path: string, format: TraceFormat, provenance: Readonly<Record<string, string>>) {
    this.path = path;
    this.#format = format;
    this.#provenance = { moescope: packageVersion(), createdAt: new Date().toISOString(), ...provenance };
  }

  /**
   * A new or empty folder. `provenance` goes into every file beside the model's own.
   * @throws MoescopeError RUN_CONFLICT where the folder holds something, NO_PERMISSION, DISK_FULL
   */
  static async create(
    path: string,
    format: TraceFormat,
    provenance: Readonly<Record<string, string>> = {},
  ): Promise<TraceFolder> {
    let names: string[];
    try {
      await mkdir(path, { recursive: true });
      names = await readdir(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") throw notAFolder(path, error);
      throw fromSystemError(error, `create the trace folder ${path}`);
    }
    if (names.length > 0) {
      throw new MoescopeError(
        "RUN_CONFLICT",
        `Expected a new or empty folder for the trace, ${path} holds ${names[0]}.`,
      );
    }
    return new TraceFolder(path, format, provenance);
  }

  /** Takes routes and writes whole parts as they fill: what waits is never more than one part. */
  async add(trace: RouterTrace): Promise<void> {
    this.#waiting.push(trace);
    this.#waitingBytes += trace.byteLength;
    if (this.#waitingBytes >= SHARD_BYTES) await this.flush();
  }

  /** Writes what waits. Hidden states are also float32 tensors `hidden.L` of shape [tokens, hiddenSize]: the residual stream after layer L. */
  async flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const part of partsOfSize(waiting)) await this.#write(part);
  }

  async #write(trace: RouterTrace): Promise<void> {
    const number = String(this.#parts).padStart(5, "0");
    const metadata = { ...trace.layout.metadata, provenance: this.#provenance };
    const described = new RouterTrace({ ...trace, layout: { ...trace.layout, metadata } });
    await saveTrace(join(this.path, `part-${number}.${this.#format}`), described);
    if (trace.layout.level === "hidden")
      writeHidden(join(this.path, `hidden-${number}.safetensors`), trace, this.#provenance);
    this.#parts++;
    this.#tokens += trace.numTokens;
    this.#load = added(this.#load, trace.expertLoad());
  }

  /**
   * Writes counts.json and returns the load over all parts. At level counts nothing was added: the load and the number of tokens are
   * then `counted`. `isComplete` is false where the work was cancelled.
   */
  async finish(
    model: Model,
    level: CaptureLevel,
    { counted, isComplete = true }: { counted?: TracedLoad; isComplete?: boolean } = {},
  ): Promise<TracedLoad> {
    await this.flush();
    const empty = new Float64Array(model.parts.shape.moeLayers.length * model.parts.shape.numExperts);
    const load =
      counted?.load ?? this.#load ?? new ExpertLoad(empty, model.parts.shape.moeLayers, model.parts.shape.numExperts);
    const tokens = counted?.tokens ?? this.#tokens;
    const path = join(this.path, "counts.json");
    const content = {
      format: "moescope-counts",
      formatVersion: 1,
      model: await model.toLanguageModel().describe(),
      level,
      isComplete,
      provenance: this.#provenance,
      tokens,
      numExperts: load.numExperts,
      numExpertsPerToken: model.parts.shape.numExpertsPerToken,
      layers: load.layers.map((layer) => ({ layer, counts: load.layer(layer) })),
    };
    try {
      await writeFile(path, `${toJson(content, 1)}\n`, { flag: "wx" });
    } catch (error) {
      throw fromSystemError(error, `write ${path}`);
    }
    return { load, tokens };
  }
}

function writeHidden(path: string, trace: RouterTrace, provenance: Readonly<Record<string, string>>): void {
  const { model } = trace.layout.metadata;
  const tensors = trace.hidden!.residualLayers.map((layer) => {
    const values = trace.hiddenAfter(layer);
    return { name: `hidden.${layer}`, shape: [trace.numTokens, values.length / trace.numTokens], values };
  });
  writeSafetensors(path, tensors, { model, ...provenance });
}

function added(a: ExpertLoad | undefined, b: ExpertLoad): ExpertLoad {
  if (a === undefined) return b;
  return new ExpertLoad(
    a.counts.map((count, index) => count + b.counts[index]!),
    a.layers,
    a.numExperts,
  );
}

function notAFolder(path: string, cause: unknown): MoescopeError {
  return new MoescopeError("RUN_CONFLICT", `Expected a folder for the trace, ${path} is a file.`, { cause });
}
