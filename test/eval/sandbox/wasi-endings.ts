import type { Attack } from "./attack.js";

/**
 * How attacks end in WebAssembly where it is otherwise than in bubblewrap: mostly the program asks for something that this Python does not
 * have, and fails by the name of that error. The walls are the same ones, and the test looks from outside for the same damage.
 */
const NO_MODULE = { verdict: "failed", reason: "ModuleNotFoundError", output: "" } as const;
const NO_FUNCTION = { verdict: "failed", reason: "AttributeError" } as const;
/** Python computes some times slower here. */
const PATIENT = { limits: { timeoutMs: 30_000 } } as const;

export const WASI_ENDINGS: Readonly<Record<string, Partial<Attack>>> = {
  "fork bomb": NO_MODULE,
  "more processes than allowed": { ...NO_FUNCTION, output: "" },
  "10 GB of memory": { verdict: "failed", reason: "OverflowError" },
  "10 GB in small pieces": PATIENT,
  "memory that outlives its process": NO_MODULE,
  "an answer without end": PATIENT,
  "a crash of the interpreter": NO_MODULE,
  network: { ...NO_FUNCTION, output: "AttributeError\n".repeat(4) },
  environment: {
    output: "['HOME', 'LANG', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PATH', 'PYTHONHASHSEED']\n",
  },
  "writing outside": { output: "FileNotFoundError\n".repeat(7) },
  "symlinks and paths that climb": { verdict: "failed", reason: "OSError", output: "" },
  "signalling the parent and everybody": { ...NO_FUNCTION, output: "AttributeError\n" },
  "starts other programs": { verdict: "failed", reason: "OSError", output: "" },
  "namespaces, tracing and raised limits": NO_MODULE,
};

/** Attacks on what only WebAssembly has: its names for the harness's lines, its files in our memory, its own traps. */
export const WASI_ATTACKS: readonly Attack[] = [
  {
    name: "opens the harness's lines again",
    source: `
import os
def attack():
    for path in ["/line/3", "/line/4", "/line/../line/3", "/tmp/../line/4"]:
        try: print(os.path.basename(path), open(path, "wb").write(b'{"verdict": "passed"}'))
        except OSError as error: print(type(error).__name__)
    return 42`,
    verdict: "passed",
    output: "PermissionError\n4 21\nPermissionError\nPermissionError\n",
  },
  {
    name: "a file with a hole of 8 GB, and files without a name",
    source: `
import os
def attack():
    for write in ["hole", "nameless", "truncate"]:
        files = []
        try:
            for i in range(40):
                file = open("/tmp/%d" % i, "w+b")
                files.append(file)
                os.unlink("/tmp/%d" % i)
                if write == "hole": file.seek(2**33)
                if write == "truncate": file.truncate(2**33)
                else: file.write(bytes(2**20)); file.flush()
            print("done")
        except OSError as error: print(type(error).__name__, error.errno)
        for file in files: os.close(file.fileno())
    return 42`,
    verdict: "passed",
    output: "OSError 51\nOSError 51\nOSError 51\n",
  },
  {
    name: "a million files",
    source: `
def attack():
    try:
        for i in range(10**6): open("/tmp/%d" % i, "w").close()
    except OSError as error: print(error.errno)
    return 42`,
    verdict: "passed",
    output: "51\n",
    limits: { timeoutMs: 30_000 },
  },
  {
    name: "JavaScript, by any name that a bridge has had",
    source: `
import importlib
def attack():
    for name in ["js", "pyodide", "pyodide_js", "_pyodide", "_pyodide_core", "_emscripten_info", "pyscript", "node"]:
        try: print(importlib.import_module(name))
        except ImportError: pass
    return 42`,
    verdict: "passed",
    output: "",
  },
  {
    name: "exhausts the module's stack",
    source: "def attack():\n    x = None\n    for _ in range(10**5): x = (x,)\n    return hash(x)",
    verdict: "failed",
  },
];
