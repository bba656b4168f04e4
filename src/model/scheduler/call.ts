/** One call of a user, with all its sequences: it takes its turn beside other calls, and ends as a whole. */
import { AbortError, MoescopeError } from "../../errors.js";
import type { Scheduler } from "./scheduler.js";
import type { Sequence, SequenceKind, SequenceOptions } from "./sequence.js";

export class Call {
  /** Sequences that wait for their first step, in the order of arrival. */
  readonly waiting: Set<Sequence> = new Set();
  numActive: number = 0;
  /** When the scheduler last admitted a sequence of this call; -1 before the first. */
  admittedAt: number = -1;
  readonly #open = new Set<Sequence>();
  readonly #signal: AbortSignal | undefined;
  readonly #cancel = () => this.#closeAll(abortError(this.#signal!));

  constructor(
    readonly scheduler: Scheduler,
    signal: AbortSignal | undefined,
  ) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#cancel, { once: true });
  }

  /** A new sequence; nothing is computed and no memory taken before its first append. */
  open(kind: SequenceKind, options: SequenceOptions): Sequence {
    const sequence = this.scheduler.newSequence(this, kind, options);
    this.#open.add(sequence);
    return sequence;
  }

  forget(sequence: Sequence): void {
    this.#open.delete(sequence);
    this.waiting.delete(sequence);
  }

  /** Why nothing more can be asked, or undefined. */
  refusal(): MoescopeError | undefined {
    if (this.#signal?.aborted) return abortError(this.#signal);
    if (this.scheduler.isDisposed) return new MoescopeError("DISPOSED", "The model was disposed.");
    return undefined;
  }

  /** Closes what is still open. */
  end(): void {
    this.#signal?.removeEventListener("abort", this.#cancel);
    this.#closeAll(new AbortError("The call has ended."));
  }

  #closeAll(error: MoescopeError): void {
    for (const sequence of [...this.#open]) sequence.fail(error);
  }
}

function abortError(signal: AbortSignal): AbortError {
  return new AbortError("The operation was cancelled.", { cause: signal.reason });
}
