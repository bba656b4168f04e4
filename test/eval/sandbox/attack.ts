import type { ProgramLimits, ProgramResult } from "../../../src/index.js";

/** Programs that mean harm, and how each of them has to end. */
export interface Attack {
  name: string;
  /** Defines `attack()`, which is called once and has to return 42. HOST_PID, HOST_PORT and HOST_FOLDER are filled in. */
  source: string;
  /** How it has to end: the verdict, and a reason or all that it has to print. */
  verdict: ProgramResult["verdict"];
  reason?: string;
  output?: string;
  limits?: Partial<ProgramLimits>;
}

/** Prints the name of the error that each statement meets, or "done". */
export const TRY: string = `
def attempt(*actions):
    for action in actions:
        try:
            action()
            print("done")
        except BaseException as error:
            print(type(error).__name__)
`;

export const LIBC: string = "import ctypes, os, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n";
export const SHORT = { timeoutMs: 700 };
export const NEVER_ENDS = { verdict: "timeout", reason: "more than 0.7 s", limits: SHORT } as const;
export const EARLY = { verdict: "failed", reason: "the program ended before its tests did" } as const;
