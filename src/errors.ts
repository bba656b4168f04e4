/**
 * Every error that moescope throws on purpose. `code` is stable and meant for programs; the message is one sentence that says
 * what was expected, what came, and where.
 */

/** Stable identifiers of what went wrong. `cli/exit-code.ts` maps them to process exit codes. */
export type ErrorCode =
  /** An option, argument or request that cannot be meant: wrong type, out of range, unknown name. */
  | "INVALID_ARGUMENT"
  /** A file or folder that is not there. */
  | "NOT_FOUND"
  /** A file that is there but may not be read or written. */
  | "NO_PERMISSION"
  /** A file whose content breaks its format: truncated, corrupt, hostile, contradictory. */
  | "BAD_FILE"
  /** A well-formed input that asks for something moescope does not compute; named, never approximated. */
  | "UNSUPPORTED"
  /** More tokens than the model's context holds. */
  | "CONTEXT_TOO_LONG"
  /** Memory that could not be had. */
  | "OUT_OF_MEMORY"
  /** The disk is full. */
  | "DISK_FULL"
  /** A server that cannot be reached, or that keeps answering with an error. */
  | "NETWORK"
  /** The work was cancelled through an AbortSignal or Ctrl-C. */
  | "ABORTED"
  /** The native addon is missing or does not load. */
  | "NATIVE_UNAVAILABLE"
  /** A model, session or sequence was used after it was disposed. */
  | "DISPOSED"
  /** A run folder that belongs to another run, is locked, or cannot be resumed. */
  | "RUN_CONFLICT"
  /** A routing invariant failed: a fault of moescope itself. */
  | "INVARIANT"
  /** Any other fault of moescope itself. */
  | "INTERNAL";

/** The base of all our errors. `code` says what kind; `cause` keeps the error underneath, if any. */
export class MoescopeError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A caller's mistake: `INVALID_ARGUMENT`. */
export class InvalidArgumentError extends MoescopeError {
  constructor(message: string, options?: { cause?: unknown }) {
    super("INVALID_ARGUMENT", message, options);
  }
}

/** A model file, config or tokenizer that cannot be accepted: `NOT_FOUND`, `NO_PERMISSION`, `BAD_FILE` or `UNSUPPORTED`. */
export class CheckpointError extends MoescopeError {
  constructor(
    code: "NOT_FOUND" | "NO_PERMISSION" | "BAD_FILE" | "UNSUPPORTED",
    message: string,
    options?: { cause?: unknown },
  ) {
    super(code, message, options);
  }
}

/** Work that was cancelled: `ABORTED`. */
export class AbortError extends MoescopeError {
  constructor(message: string = "The operation was cancelled.", options?: { cause?: unknown }) {
    super("ABORTED", message, options);
  }
}

/** The sentence for a bad argument: expected what, for which name, got what. */
export function invalidArgument(name: string, expected: string, actual: unknown): InvalidArgumentError {
  return new InvalidArgumentError(`Expected ${expected} for ${name}, got ${describe(actual)}.`);
}

/** A short printable form of any value, for error sentences. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return `${value} (${typeof value})`;
  }
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return `a value of type ${typeof value === "object" ? (value.constructor?.name ?? "object") : typeof value}`;
}

const CODES_OF_ERRNO: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "NOT_FOUND",
  ENOTDIR: "NOT_FOUND",
  EISDIR: "BAD_FILE",
  EACCES: "NO_PERMISSION",
  EPERM: "NO_PERMISSION",
  EROFS: "NO_PERMISSION",
  ENOSPC: "DISK_FULL",
  EDQUOT: "DISK_FULL",
  ENOMEM: "OUT_OF_MEMORY",
};

/** Turns a Node file-system error into one of ours with `doing` ("read /x/config.json") in the sentence; others pass through. */
export function fromSystemError(error: unknown, doing: string): unknown {
  if (error instanceof MoescopeError || !(error instanceof Error)) return error;
  const errno = (error as NodeJS.ErrnoException).code;
  const code = errno === undefined ? undefined : CODES_OF_ERRNO[errno];
  if (code === undefined) return error;
  const reason: Partial<Record<ErrorCode, string>> = {
    NOT_FOUND: "it does not exist",
    NO_PERMISSION: "permission was denied",
    BAD_FILE: "it is a folder",
    DISK_FULL: "the disk is full",
    OUT_OF_MEMORY: "the system has no memory left",
  };
  return new MoescopeError(code, `Could not ${doing}: ${reason[code]}.`, { cause: error });
}
