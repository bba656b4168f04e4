/**
 * The order in which everything runs that is asked of a model. A step holds the next rows of all sequences under way, from any number
 * of calls; sequences join and leave between steps. What a sequence computes does not depend on its company.
 */
import { MoescopeError } from "../../errors.js";
import { loadAddon } from "../../native/addon.js";
import type { CancelFlag, NativeSession } from "../../native/binding.js";
import { fromNativeError } from "../native-error.js";
import { awaitsDonor, candidates, findDonor, reusableLength } from "./admission.js";
import { Call } from "./call.js";
import { PrefixTree } from "./prefix-tree.js";
import { Sequence, type SequenceKind, type SequenceOptions } from "./sequence.js";
import { shareRows } from "./share-rows.js";
import { deliver, inheritedRoutes, type Piece, recordedFromStart, stepRequest } from "./step.js";
import { TraceBlocks } from "./trace-blocks.js";

export interface SchedulerOptions {
  /** Bytes that one position takes in the key/value cache. */
  bytesPerPosition: number;
  /** Key/value bytes for sequences under way and kept prefixes together; a single sequence may exceed it. */
  kvCacheBytes: number;
  vocabSize: number;
  /** Rows of one step; more where a single call reads prompts and a step stays short. */
  stepRows: number;
}

export interface SchedulerUsage {
  /** Sequences on the device, and those that wait for their first step. */
  active: number;
  waiting: number;
  /** Kept prefixes. */
  prefixNodes: number;
  prefixBytes: number;
  /** Set aside for the active sequences. */
  reservedBytes: number;
}

/** Positions of a page of the key/value cache (native/core/kv_cache.h). */
const PAGE_POSITIONS = 64;
/** Sequences under way at once, and how many of them one call may have, so that there is room for the next. */
const MAX_ACTIVE = 64;
const MAX_ACTIVE_OF_CALL = 48;
/** A step for one call's prompts is up to this many times as long, if that is not more than so many seconds: each step has its price. */
const LONG_STEP = 4;
const LONG_STEP_SECONDS = 0.25;

export class Scheduler {
  isDisposed = false;
  readonly #session: NativeSession;
  readonly #options: SchedulerOptions;
  readonly #tree: PrefixTree;
  readonly #blocks: TraceBlocks;
  readonly #calls = new Set<Call>();
  readonly #active = new Set<Sequence>();
  /** Closed, but what they hold is not given back yet. */
  #closed: Sequence[] = [];
  #betweenSteps: (() => void)[] = [];
  #reservedBytes = 0;
  #clock = 0;
  /** Of the last step. */
  #rowsPerSecond = 0;
  #loop: Promise<void> | undefined;
  #step: { pieces: readonly Piece[]; flag: CancelFlag } | undefined;

  constructor(session: NativeSession, options: SchedulerOptions) {
    this.#session = session;
    this.#options = options;
    this.#blocks = new TraceBlocks(session);
    this.#tree = new PrefixTree({
      fork: (sequence, length) => session.forkSequence(sequence, length, []),
      release: (sequence) => session.releaseSequence(sequence),
      bytesOf: (from, to) => this.#pageBytes(from, to),
    });
  }

  /** Starts a call; `signal` cancels all of it. The caller ends it. */
  begin(signal?: AbortSignal): Call {
    return new Call(this, signal);
  }

  /** What is held at this moment. */
  usage(): SchedulerUsage {
    return {
      active: this.#active.size,
      waiting: [...this.#calls].reduce((sum, call) => sum + call.waiting.size, 0),
      prefixNodes: this.#tree.numNodes,
      prefixBytes: this.#tree.bytes,
      reservedBytes: this.#reservedBytes,
    };
  }

  /** Runs `work` while no step does. */
  whenIdle<T>(work: (session: NativeSession) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.isDisposed) throw new MoescopeError("DISPOSED", "The model was disposed.");
      this.#betweenSteps.push(() => {
        try {
          resolve(work(this.#session));
        } catch (error) {
          reject(fromNativeError(error));
        }
      });
      this.#wake();
    });
  }

  /** Forgets the kept prefixes that are not in use. */
  clearPrefixes(): Promise<void> {
    return this.whenIdle(() => this.#tree.clear());
  }

  /** Refuses new work and waits for what was asked before. */
  async dispose(): Promise<void> {
    this.isDisposed = true;
    while (this.#loop !== undefined) await this.#loop;
  }

  /** @internal */
  newSequence(call: Call, kind: SequenceKind, options: SequenceOptions): Sequence {
    return new Sequence(call, kind, options, ++this.#clock, this.#options.vocabSize);
  }

  /** @internal A sequence has something to compute. */
  submit(sequence: Sequence): void {
    if (sequence.hold === undefined) {
      sequence.call.waiting.add(sequence);
      this.#calls.add(sequence.call);
    }
    this.#wake();
  }

  /** @internal A sequence was closed. A step most of whose rows nobody waits for any more is given up. */
  release(sequence: Sequence): void {
    const isGone = this.isDisposed && this.#loop === undefined;
    if (sequence.hold === undefined || isGone) return;
    this.#closed.push(sequence);
    this.#wake();
    if (this.#step === undefined) return;
    const { pieces, flag } = this.#step;
    const rowsOf = (some: readonly Piece[]) => some.reduce((sum, { rows }) => sum + rows, 0);
    const wanted = rowsOf(pieces.filter((piece) => !piece.sequence.isClosed));
    if (2 * wanted < rowsOf(pieces)) flag.set();
  }

  #wake(): void {
    this.#loop ??= this.#run().finally(() => {
      this.#loop = undefined;
      if (this.#hasWork()) this.#wake();
    });
  }

  #hasWork(): boolean {
    const isAsked = [...this.#active].some(({ pending }) => pending !== undefined);
    return isAsked || this.#calls.size > 0 || this.#closed.length > 0 || this.#betweenSteps.length > 0;
  }

  async #run(): Promise<void> {
    try {
      while (true) {
        // Those that were just answered ask for their next token before the next step is formed.
        await new Promise((resolve) => setImmediate(resolve));
        this.#giveBack();
        for (const work of this.#betweenSteps.splice(0)) work();
        this.#admit();
        const pieces = this.#nextPieces();
        if (pieces.length === 0) return;
        await this.#runStep(pieces);
      }
    } catch (error) {
      // Not a step's error: a fault of this code. Nobody may wait for ever.
      for (const sequence of this.#all()) sequence.fail(fromNativeError(error));
    }
  }

  #all(): Sequence[] {
    return [...this.#active, ...[...this.#calls].flatMap((call) => [...call.waiting])];
  }

  /** Rows of the next step. */
  #nextPieces(): Piece[] {
    const demands = [...this.#active].flatMap((sequence) => {
      const { pending, computed, servedAt, arrival } = sequence;
      if (pending === undefined) return [];
      const rows = pending.start + pending.append.tokenIds.length - computed;
      return [{ sequence, rows, isDecode: rows === 1 && pending.append.origin === 1, servedAt, arrival }];
    });
    return shareRows(demands, this.#rowsFor(demands)).map(({ demand: { sequence }, rows }) => {
      sequence.servedAt = ++this.#clock;
      return { sequence, rows };
    });
  }

  #rowsFor(demands: readonly { sequence: Sequence; isDecode: boolean }[]): number {
    const { stepRows } = this.#options;
    const isShared = demands.some(({ sequence, isDecode }) => isDecode || sequence.call !== demands[0]!.sequence.call);
    if (isShared) return stepRows;
    const steps = Math.floor((this.#rowsPerSecond * LONG_STEP_SECONDS) / stepRows);
    return stepRows * Math.min(LONG_STEP, Math.max(1, steps));
  }

  /** Runs a step. An error is that of the one sequence that alone gives it too; the others go on. */
  async #runStep(pieces: readonly Piece[]): Promise<void> {
    const block = this.#blocks.roomFor(pieces);
    const request = stepRequest(pieces, block);
    const flag = new (loadAddon().CancelFlag)();
    this.#step = { pieces, flag };
    const start = performance.now();
    const outcome = await this.#session.step(request, flag, null).then(
      (result) => ({ result }),
      (error: unknown) => ({ error: fromNativeError(error) }),
    );
    this.#step = undefined;
    const rows = pieces.reduce((sum, piece) => sum + piece.rows, 0);
    this.#rowsPerSecond = (1000 * rows) / (performance.now() - start);
    if ("result" in outcome) deliver(pieces, request, { result: outcome.result, block }, this.#options.vocabSize);
    if (block !== undefined) this.#blocks.afterStep(block);
    if ("error" in outcome) await this.#isolate(pieces, outcome.error);
  }

  /** After a step that failed, and so changed nothing: runs it again in halves, until the error has one owner. */
  async #isolate(pieces: readonly Piece[], error: unknown): Promise<void> {
    const isWanted = (piece: Piece) => !piece.sequence.isClosed;
    const wanted = pieces.filter(isWanted);
    const code = error instanceof MoescopeError ? error.code : undefined;
    if (code === "ABORTED" && wanted.length < pieces.length) return;
    if (code === "OUT_OF_MEMORY") this.#tree.clear();
    if (pieces.length === 1) {
      pieces[0]!.sequence.fail(error);
      return;
    }
    const half = Math.ceil(wanted.length / 2);
    for (const part of [wanted.slice(0, half), wanted.slice(half)]) {
      const rest = part.filter(isWanted);
      if (rest.length > 0) await this.#runStep(rest);
    }
  }

  /** Frees what closed sequences hold; their beginnings go to the tree. */
  #giveBack(): void {
    for (const sequence of this.#closed.splice(0)) {
      const { hold, call } = sequence;
      this.#keepPrefix(sequence, Math.min(sequence.keep, sequence.computed));
      this.#session.releaseSequence(hold!.sequence);
      if (hold!.prefix !== undefined) this.#tree.unpin(hold!.prefix);
      this.#reservedBytes -= hold!.bytes;
      this.#active.delete(sequence);
      call.numActive--;
      sequence.hold = undefined;
    }
    this.#makeRoom(0);
  }

  #keepPrefix({ symbols, kind, trace, hold }: Sequence, length: number): void {
    const recorded = trace === undefined ? 0 : Math.min(length, recordedFromStart(trace));
    this.#tree.insert(symbols.subarray(0, recorded), hold!.sequence, kind, trace);
    if (recorded < length)
      this.#tree.insert(symbols.subarray(0, length), hold!.sequence, { ...kind, level: "counts" }, undefined);
  }

  #admit(): void {
    // Where nothing could run, limits give way: those who hold memory may wait for one that does not.
    let mayExceed = ![...this.#active].some(({ pending }) => pending !== undefined);
    const isFull = () => this.#active.size >= MAX_ACTIVE && !mayExceed;
    for (const sequence of candidates(this.#calls, (waiting) => !isFull() && this.#isReady(waiting))) {
      if (sequence.call.numActive >= MAX_ACTIVE_OF_CALL && !mayExceed) continue;
      // In order: one that has to wait for memory is not overtaken.
      if (!this.#start(sequence, mayExceed)) break;
      mayExceed = false;
    }
    for (const call of this.#calls) if (call.waiting.size === 0) this.#calls.delete(call);
  }

  /** Whether a waiting sequence gains nothing by waiting longer. */
  #isReady(sequence: Sequence): boolean {
    if (awaitsDonor(sequence)) return false;
    if (sequence.kind.cacheKey === undefined) return true;
    const { length } = this.#matchOf(sequence) ?? { length: 0 };
    const donor = findDonor(sequence, this.#active, length);
    sequence.donor = donor;
    if (donor === undefined) return true;
    donor.sequence.keep = Math.max(donor.sequence.keep, donor.until);
    if (awaitsDonor(sequence)) return false;
    this.#keepPrefix(donor.sequence, donor.until);
    return true;
  }

  #matchOf(sequence: Sequence): ReturnType<PrefixTree["match"]> {
    return this.#tree.match(sequence.symbols.subarray(0, reusableLength(sequence)), sequence.wanted);
  }

  /** Gives a sequence its place on the device; false where there is no memory for it yet. */
  #start(sequence: Sequence, mayExceed: boolean): boolean {
    const { kind, options, call } = sequence;
    const match = this.#matchOf(sequence);
    const length = match?.length ?? 0;
    const bytes = this.#pageBytes(length, Math.max(options.maxLength, sequence.length));
    if (match !== undefined) this.#tree.pin(match.node);
    if (!this.#makeRoom(bytes) && !mayExceed) {
      if (match !== undefined) this.#tree.unpin(match.node);
      return false;
    }
    call.waiting.delete(sequence);
    call.admittedAt = ++this.#clock;
    try {
      const rules = [...kind.rules];
      const native =
        match === undefined
          ? this.#session.createSequence(rules)
          : this.#session.forkSequence(match.node.sequence, length, rules);
      sequence.hold = { sequence: native, bytes, prefix: match?.node };
    } catch (error) {
      if (match !== undefined) this.#tree.unpin(match.node);
      sequence.fail(fromNativeError(error));
      return true;
    }
    this.#reservedBytes += bytes;
    this.#active.add(sequence);
    call.numActive++;
    sequence.computed = length;
    if (match !== undefined) {
      this.#tree.touch(match.node);
      const routes = this.#tree.routesOf(match, sequence.wanted);
      if (routes !== undefined) sequence.routes.inherit(inheritedRoutes(routes, sequence.pending!.append));
      if (length === sequence.length) sequence.succeed();
    }
    return true;
  }

  /** Evicts until `bytes` more fit; false where they do not. */
  #makeRoom(bytes: number): boolean {
    const isOver = () => this.#reservedBytes + this.#tree.bytes + bytes > this.#options.kvCacheBytes;
    while (isOver()) if (!this.#tree.evictOne()) return false;
    return true;
  }

  #pageBytes(from: number, to: number): number {
    const pages = Math.ceil(to / PAGE_POSITIONS) - Math.floor(from / PAGE_POSITIONS);
    return pages * PAGE_POSITIONS * this.#options.bytesPerPosition;
  }
}
