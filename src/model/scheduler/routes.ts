/** The routes of one sequence as steps record them: first in blocks that it shares with its neighbours, then in arrays of its own. */
import type { StepHidden, StepTrace } from "../../native/binding.js";
import { emptyTrace, RouterTrace } from "../../router/trace.js";
import type { TokenRun } from "../../router/trace-columns.js";
import type { SequenceKind } from "./sequence.js";
import type { RecordingBlock } from "./trace-blocks.js";

/** Consecutive rows of a block that are consecutive positions of one part of the text. */
interface Part {
  block: RecordingBlock;
  firstRow: number;
  rows: number;
  firstPosition: number;
  origin: 0 | 1;
  segment: number;
}

export class SequenceRoutes {
  readonly #kind: SequenceKind;
  readonly #tokensOf: (from: number, to: number) => Int32Array;
  #inBlocks: Part[] = [];
  #own: RouterTrace[] = [];

  /** `tokensOf` gives the tokens at positions [from, to). */
  constructor(kind: SequenceKind, tokensOf: (from: number, to: number) => Int32Array) {
    this.#kind = kind;
    this.#tokensOf = tokensOf;
  }

  /** Takes rows that a step has recorded. */
  record(part: Part): void {
    const last = this.#inBlocks.at(-1);
    if (last !== undefined && last.block === part.block && last.firstRow + last.rows === part.firstRow) {
      if (continues(last, part)) {
        last.rows += part.rows;
        return;
      }
    }
    part.block.hold(this);
    this.#inBlocks.push(part);
  }

  /** Takes routes that came with a cached prefix. */
  inherit(trace: RouterTrace): void {
    this.#own.push(trace);
  }

  /** Copies what is in blocks into arrays of its own. */
  settle(): void {
    const parts = this.#inBlocks;
    this.#inBlocks = [];
    for (let start = 0; start < parts.length; ) {
      let end = start + 1;
      while (end < parts.length && parts[end]!.block === parts[start]!.block) end++;
      this.#own.push(this.#copy(parts.slice(start, end)));
      start = end;
    }
  }

  /** The routes so far; undefined at level `counts`. */
  get trace(): RouterTrace | undefined {
    if (this.#kind.level === "counts") return undefined;
    this.settle();
    if (this.#own.length === 0) {
      const { traceMetadata: metadata, level, layers, hiddenSize } = this.#kind;
      return emptyTrace({ metadata, level, layers, hiddenSize });
    }
    if (this.#own.length > 1) this.#own = [RouterTrace.concat(this.#own)];
    return this.#own[0];
  }

  /** Forgets the routes so far: whoever reads them as they come has them. */
  forget(): void {
    this.#inBlocks = [];
    this.#own = [];
  }

  /** Parts of one block, as wide as the sequence's own rules make its rows. */
  #copy(parts: readonly Part[]): RouterTrace {
    const { level, traceMetadata: metadata, topK, layers } = this.#kind;
    const { native, layers: recorded } = parts[0]!.block;
    const step = rowsOf(native, parts, topK, level);
    const runs = runsOf(parts).map(
      ({ rows, firstPosition, origin, segment }): TokenRun => ({
        tokenIds: this.#tokensOf(firstPosition, firstPosition + rows),
        ...{ firstPosition, origin, segment },
      }),
    );
    const trace = RouterTrace.fromStep(step, runs, {
      ...{ metadata, level: level as Exclude<typeof level, "counts">, layers: recorded },
    });
    return layers === undefined ? trace : trace.selectLayers(layers);
  }
}

function continues(last: Part, next: Part): boolean {
  return (
    last.firstPosition + last.rows === next.firstPosition &&
    last.origin === next.origin &&
    last.segment === next.segment
  );
}

/** Parts that follow one another in the text as one, wherever they lie. */
function runsOf(parts: readonly Part[]): Part[] {
  const runs: Part[] = [];
  for (const part of parts) {
    const last = runs.at(-1);
    if (last !== undefined && continues(last, part)) last.rows += part.rows;
    else runs.push({ ...part });
  }
  return runs;
}

/** Copies of some rows of a block, at a level that it has, with the first `topK` of its slots. */
function rowsOf(block: StepTrace, parts: readonly Part[], topK: number, level: string): StepTrace {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const pick = <T extends Float32Array | Uint8Array | Uint16Array>(values: T): T => {
    const width = values.length / block.rows;
    if (parts.length === 1) {
      const { firstRow } = parts[0]!;
      return values.slice(firstRow * width, (firstRow + rows) * width) as T;
    }
    const picked = new (values.constructor as new (length: number) => T)(rows * width);
    let offset = 0;
    for (const { firstRow, rows: count } of parts) {
      picked.set(values.subarray(firstRow * width, (firstRow + count) * width), offset);
      offset += count * width;
    }
    return picked;
  };
  const slots = <T extends Float32Array | Uint16Array>(values: T): T => narrow(pick(values), block.topK, topK);
  const hiddenOf = ({ routerInput, expertNorms, sharedNorm, residual }: StepHidden): StepHidden => ({
    routerInput: pick(routerInput),
    expertNorms: slots(expertNorms),
    sharedNorm: pick(sharedNorm),
    residual: pick(residual),
  });
  return {
    ...{ rows, topK, numMoeLayers: block.numMoeLayers, numExperts: block.numExperts },
    topkExperts: slots(block.topkExperts),
    topkWeights: slots(block.topkWeights),
    sharedGate: pick(block.sharedGate),
    margin: pick(block.margin),
    intervened: pick(block.intervened),
    routerLogits: level === "topk" ? new Float32Array(0) : pick(block.routerLogits),
    ...(level === "hidden" && { hidden: hiddenOf(block.hidden!) }),
  };
}

/** The first `to` of every `from` slots: a neighbour's rules may have made the block's rows wider. */
function narrow<T extends Float32Array | Uint16Array>(values: T, from: number, to: number): T {
  if (from === to) return values;
  const narrowed = new (values.constructor as new (length: number) => T)((values.length / from) * to);
  for (let row = 0; row < values.length / from; row++) {
    narrowed.set(values.subarray(row * from, row * from + to), row * to);
  }
  return narrowed;
}
