/** Errors and cancellation at the border to native code. */
import { AbortError, type ErrorCode, MoescopeError } from "../errors.js";

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortError("The operation was cancelled.", { cause: signal.reason });
}

/** A native error as ours; its `code` is one of `ErrorCode` by construction (native/core/error.h). */
export function fromNativeError(error: unknown): unknown {
  if (error instanceof MoescopeError || !(error instanceof Error)) return error;
  const code = (error as { code?: ErrorCode }).code;
  if (code === undefined) return error;
  if (code === "ABORTED") return new AbortError(error.message, { cause: error });
  return new MoescopeError(code, error.message, { cause: error });
}
