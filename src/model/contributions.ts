/** One pass over documents that sums what experts contribute, in a session of its own: nobody else's sequences are in its steps. */
import { withAmbientSignal } from "../ambient-signal.js";
import { InvalidArgumentError, MoescopeError } from "../errors.js";
import { loadAddon } from "../native/addon.js";
import type { StepContributions } from "../native/binding.js";
import { CHUNK_ROWS } from "./forward.js";
import type { Model } from "./model.js";
import { fromNativeError, throwIfAborted } from "./native-error.js";
import { SEGMENT } from "./segments.js";

export interface ContributionOptions {
  signal?: AbortSignal;
  onProgress?: (documentsDone: number, documentsTotal: number) => void;
}

/** The sums of each document, read from position 0. Documents are computed one after another; nothing of them is kept. */
export async function contributionsOf(
  model: Model,
  documents: readonly ArrayLike<number>[],
  { signal: own, onProgress }: ContributionOptions,
): Promise<StepContributions[]> {
  const { engine, shape, cacheType } = model.parts;
  if (shape.moeLayers.length === 0) {
    throw new InvalidArgumentError("Expected a model with routed experts for contributions, this one has none.");
  }
  const signal = withAmbientSignal(own);
  const flag = new (loadAddon().CancelFlag)();
  const cancel = () => flag.set();
  signal?.addEventListener("abort", cancel, { once: true });
  const session = engine.newSession({ cacheType, chunkRows: CHUNK_ROWS });
  const sums: StepContributions[] = [];
  try {
    for (const ids of documents) {
      throwIfAborted(signal);
      const tokenIds = Int32Array.from(ids);
      model.checkReplay(tokenIds);
      const sequence = session.createSequence([...model.rules]);
      const segment = { sequence, tokenIds, origin: 0, segment: SEGMENT.question, head: { kind: "none" } } as const;
      const result = await session.step({ segments: [segment], contributions: true }, flag, null);
      session.releaseSequence(sequence);
      if (result.contributions === undefined) throw new MoescopeError("INTERNAL", "A step gave no contributions.");
      sums.push(result.contributions);
      onProgress?.(sums.length, documents.length);
    }
  } catch (error) {
    throw fromNativeError(error);
  } finally {
    signal?.removeEventListener("abort", cancel);
    session.dispose();
  }
  return sums;
}
