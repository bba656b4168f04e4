import { CheckpointError, fromSystemError, MoescopeError } from "../errors.js";

/** A file whose content breaks its format or contradicts itself. `message` is one sentence. */
export function badFile(message: string, cause?: unknown): CheckpointError {
  return new CheckpointError("BAD_FILE", message, { cause });
}

/** A well-formed file that asks for something that moescope does not compute. `message` names it. */
export function unsupported(message: string): CheckpointError {
  return new CheckpointError("UNSUPPORTED", message);
}

/** A file or folder that is not there. */
export function notFound(message: string, cause?: unknown): CheckpointError {
  return new CheckpointError("NOT_FOUND", message, { cause });
}

/**
 * The error for a failed system call on a checkpoint file: missing files and missing rights get their own codes; anything
 * else that the system may say about a file (a loop of links, a failing disk) is BAD_FILE with the system's words.
 */
export function fileError(error: unknown, doing: string): Error {
  if (error instanceof MoescopeError) return error;
  const known = fromSystemError(error, doing);
  if (known !== error) return known as Error;
  const reason = error instanceof Error ? error.message : String(error);
  return badFile(`Could not ${doing}: ${reason}.`, error);
}
