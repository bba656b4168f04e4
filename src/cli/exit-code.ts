/** Process exit codes: what a script may rely on. */
import { type ErrorCode, MoescopeError } from "../errors.js";

export const EXIT_OK = 0;
export const EXIT_OTHER = 1;
export const EXIT_USAGE = 2;
export const EXIT_CANCELLED = 130;

const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: EXIT_USAGE,
  NOT_FOUND: 3,
  NO_PERMISSION: 3,
  BAD_FILE: 3,
  UNSUPPORTED: 4,
  OUT_OF_MEMORY: 5,
  DISK_FULL: 5,
  CONTEXT_TOO_LONG: 5,
  NETWORK: 6,
  ABORTED: EXIT_CANCELLED,
  RUN_CONFLICT: EXIT_OTHER,
  NATIVE_UNAVAILABLE: EXIT_OTHER,
  DISPOSED: EXIT_OTHER,
  INVARIANT: EXIT_OTHER,
  INTERNAL: EXIT_OTHER,
};

/** The exit code for an error; one that is not ours is a fault of moescope. */
export function exitCodeOf(error: unknown): number {
  return error instanceof MoescopeError ? EXIT_CODES[error.code] : EXIT_OTHER;
}

/** For the foot of `--help`. */
export const EXIT_CODE_HELP: string = `
Exit codes:
  0    done
  1    any other fault, a run folder in use included
  2    a wrong option, argument or request
  3    a file that is missing, unreadable or broken
  4    a model or feature that moescope does not compute
  5    a limit reached: memory, disk or the model's context
  6    a server that does not answer as it should
  130  cancelled with Ctrl-C (what was done is kept; a second Ctrl-C ends at once)

Environment:
  MOESCOPE_DATA     folder of benchmark data, for eval (default: what \`moescope data get\` has brought)
  OPENAI_API_KEY    key for eval --endpoint, sent and never written
  HF_ENDPOINT       a mirror of the Hugging Face hub, for data get; HF_TOKEN the token for it
  MOESCOPE_DEBUG    any value: print stack traces of errors
`;
