/** Errors and cancellation at the border to native code. */
import { AbortError, type ErrorCode, MoescopeError } from "../errors.js";

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortError("The operation was cancelled.", { cause: signal.reason });
}

/** Those that native code gives (native/core/error.h). What a user's callback throws may have codes of its own. */
const NATIVE_CODES: readonly ErrorCode[] = [
  ...(["INVALID_ARGUMENT", "NOT_FOUND", "NO_PERMISSION", "BAD_FILE", "UNSUPPORTED", "CONTEXT_TOO_LONG"] as const),
  ...(["OUT_OF_MEMORY", "ABORTED", "DISPOSED", "INVARIANT", "INTERNAL"] as const),
];

/** A native error as ours; any other as it is. */
export function fromNativeError(error: unknown): unknown {
  if (error instanceof MoescopeError || !(error instanceof Error)) return error;
  const code = (error as { code?: ErrorCode }).code;
  if (code === undefined || !NATIVE_CODES.includes(code)) return error;
  if (code === "ABORTED") return new AbortError(error.message, { cause: error });
  return new MoescopeError(code, error.message, { cause: error });
}
