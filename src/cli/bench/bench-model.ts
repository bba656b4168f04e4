/** All works of one model file, ours and the peer's. */
import { basename } from "node:path";
import { openCheckpoint } from "../../checkpoint/checkpoint.js";
import type { LoadOptions } from "../../index.js";
import { formatBytes, formatCount } from "../text-table.js";
import type { MeasuredCeiling } from "./ceilings.js";
import { demandOf } from "./demand.js";
import { type FigureResult, measureWorks } from "./measure.js";
import { OurEngine } from "./our-engine.js";
import { type Peer, startPeer } from "./peers.js";
import { allWorks, type Work, type WorkKind } from "./works.js";

export interface BenchSettings {
  load: Required<Pick<LoadOptions, "threads" | "precision" | "cacheType">>;
  threads: number;
  pairs: number;
  quick: boolean;
  only: readonly WorkKind[];
  /** One work of each kind: one sequence, 512 tokens. */
  oneOfEach: boolean;
  peer: Peer | null;
  signal: AbortSignal;
}

export interface ModelRun {
  title: string;
  /** Name of the file, and its size in bytes. */
  model: string;
  fileBytes: number;
  synthetic: { shape: string; type: string } | null;
  numParameters: number;
  activeBytesPerToken: number;
  prefillMacsPerToken: number;
  ours: Readonly<Record<string, unknown>>;
  peer: Readonly<Record<string, unknown>> | null;
  works: FigureResult[];
}

export async function benchModel(
  path: string,
  synthetic: { shape: string; type: string } | undefined,
  ceilings: readonly MeasuredCeiling[],
  settings: BenchSettings,
  onProgress: (done: number, total: number, work: string) => void,
): Promise<ModelRun> {
  const { threads, load, signal } = settings;
  const checkpoint = await openCheckpoint(path);
  const { config, weightBytes, numParameters } = checkpoint;
  const demand = demandOf(checkpoint, load.precision);
  const contender = { modelPath: checkpoint.path, vocabSize: config.vocabSize, threads };
  const peer = settings.peer === null ? null : await startPeer(settings.peer, contender, signal);
  const ours = await OurEngine.start({ ...contender, load });
  try {
    const works = await measureWorks({
      ...{
        works: chosenWorks(settings, config.maxContext),
        pairs: settings.pairs,
        ours,
        peer,
        demand,
        ceilings,
        signal,
      },
      onProgress: (done, total, work) => onProgress(done, total, `${basename(path)}: ${work}`),
    });
    return {
      title: `${basename(path)}: ${formatCount(numParameters)} parameters, ${formatBytes(weightBytes)}`,
      model: basename(path),
      fileBytes: weightBytes,
      synthetic: synthetic ?? null,
      numParameters,
      activeBytesPerToken: demand.decodeBytes(1),
      prefillMacsPerToken: demand.prefillMacs,
      ours: ours.description,
      peer: peer === null ? null : { name: peer.name, ...peer.description },
      works,
    };
  } finally {
    await ours.close();
    await peer?.close();
  }
}

function chosenWorks({ only, oneOfEach, quick }: BenchSettings, maxContext: number): Work[] {
  const isMain = ({ kind, sequences, size }: Work) => sequences === 1 && (kind !== "prefill" || size === 512);
  return allWorks(quick)
    .filter(({ kind }) => only.includes(kind))
    .filter(({ kind, size }) => kind !== "prefill" || size < maxContext)
    .filter((work) => !oneOfEach || isMain(work));
}
