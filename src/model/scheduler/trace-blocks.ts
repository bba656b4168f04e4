/**
 * Native memory that steps record routes in: blocks that are allocated once and written again and again. A step only says where its rows
 * go; what sequences have in a block is copied out, many steps at once, when the block is full.
 */
import type { NativeSession, TraceBlock } from "../../native/binding.js";
import { bytesPerToken, CAPTURE_LEVELS, type CapturePlan, isRecorded } from "../../router/capture.js";
import type { RecordedLevel } from "../../router/schema.js";
import type { SequenceRoutes } from "./routes.js";
import type { SequenceKind } from "./sequence.js";
import type { Piece } from "./step.js";

/** What of a step's routes is recorded: at least what any of its sequences wants. */
type BlockKind = Pick<CapturePlan, "level" | "layers"> & { topK: number };

/** Rows of a block: enough steps for one copy, as long as they are small. */
const MAX_ROWS = 1024;
const BLOCK_BYTES = 2 ** 20;
/** A block that a long prompt made larger than this is not kept. */
const KEPT_BYTES = 2 ** 26;
/** Blocks of different kinds that are kept for calls that want different things. */
const MAX_BLOCKS = 4;

export class RecordingBlock {
  /** Rows that are written. */
  used = 0;
  isDropped = false;
  readonly #holders = new Set<SequenceRoutes>();

  constructor(
    readonly native: TraceBlock,
    readonly bytes: number,
    /** Absent: all. */
    readonly layers: readonly number[] | undefined,
  ) {}

  /** Somebody has rows here. */
  hold(routes: SequenceRoutes): void {
    this.#holders.add(routes);
  }

  /** Copies out what sequences have here; then all of it can be written again. */
  empty(): void {
    for (const routes of this.#holders) routes.settle();
    this.#holders.clear();
    this.used = 0;
  }
}

export class TraceBlocks {
  readonly #session: NativeSession;
  /** By kind, the least recently used first. */
  readonly #blocks = new Map<string, RecordingBlock>();
  readonly #byKind = new WeakMap<SequenceKind, RecordingBlock>();

  constructor(session: NativeSession) {
    this.#session = session;
  }

  /** A block with room for the recorded rows of a step, from `used` on; undefined where none are recorded. */
  roomFor(pieces: readonly Piece[]): RecordingBlock | undefined {
    let kind: SequenceKind | undefined;
    let rows = 0;
    let isMixed = false;
    for (const { sequence, rows: own } of pieces) {
      if (!isRecorded(sequence.kind, sequence.pending!.append)) continue;
      rows += own;
      isMixed ||= kind !== undefined && kind !== sequence.kind;
      kind ??= sequence.kind;
    }
    if (kind === undefined) return undefined;
    if (isMixed) return this.#blockOf(commonKind(pieces), rows, kind);
    // The kind of a call's sequences is one object, so most steps find their block by it.
    let block = this.#byKind.get(kind);
    if (block === undefined || block.isDropped || block.used + rows > block.native.rows) {
      block = this.#blockOf(kind, rows, kind);
      this.#byKind.set(kind, block);
    }
    return block;
  }

  /** A block of a kind with room for `rows` rows. */
  #blockOf(kind: BlockKind, rows: number, model: SequenceKind): RecordingBlock {
    const name = `${kind.level} ${kind.topK} ${kind.layers?.join() ?? "all"}`;
    const known = this.#blocks.get(name);
    if (known !== undefined && rows <= known.native.rows) {
      if (known.used + rows > known.native.rows) known.empty();
      return known;
    }
    if (known !== undefined) this.#drop(name, known);
    for (const [oldest, block] of this.#blocks) if (this.#blocks.size >= MAX_BLOCKS) this.#drop(oldest, block);
    const made = this.#create(kind, rows, model);
    this.#blocks.set(name, made);
    return made;
  }

  /** A step is over: what it made too large to keep is let go. */
  afterStep(block: RecordingBlock): void {
    if (block.bytes <= KEPT_BYTES) return;
    for (const [name, known] of this.#blocks) if (known === block) this.#drop(name, known);
  }

  #create(kind: BlockKind, rows: number, { traceMetadata, hiddenSize }: SequenceKind): RecordingBlock {
    const { topK, level, layers } = kind;
    const perRow = bytesPerToken(kind, traceMetadata, { topK, hiddenSize });
    const numRows = Math.max(rows, Math.min(MAX_ROWS, Math.floor(BLOCK_BYTES / Math.max(1, perRow))));
    const options = { level: level as RecordedLevel, topK, rows: numRows };
    const native = this.#session.createTraceBlock(
      layers === undefined ? options : { ...options, layers: Int32Array.from(layers) },
    );
    return new RecordingBlock(native, numRows * perRow, layers);
  }

  #drop(name: string, block: RecordingBlock): void {
    block.empty();
    block.isDropped = true;
    this.#blocks.delete(name);
  }
}

/** Watching more changes no bit, so neighbours with different wishes share a block. */
function commonKind(pieces: readonly Piece[]): BlockKind {
  const recorded = pieces.filter(({ sequence }) => isRecorded(sequence.kind, sequence.pending!.append));
  const kinds = recorded.map(({ sequence }) => sequence.kind);
  const level = CAPTURE_LEVELS[Math.max(...kinds.map((kind) => CAPTURE_LEVELS.indexOf(kind.level)))]!;
  const topK = Math.max(...kinds.map((kind) => kind.topK));
  if (kinds.some(({ layers }) => layers === undefined)) return { level, topK };
  const layers = [...new Set(kinds.flatMap((kind) => kind.layers!))].sort((a, b) => a - b);
  return { level, topK, layers };
}
