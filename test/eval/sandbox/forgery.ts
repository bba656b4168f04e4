import { type Attack, EARLY } from "./attack.js";

/** Passing without having done the work: the function never returns 42. */
export const FORGERY: readonly Attack[] = [
  { name: "os._exit(0) before the tests", source: "import os\nos._exit(0)\ndef attack(): pass", ...EARLY },
  { name: "sys.exit(0) before the tests", source: "import sys\nsys.exit(0)", verdict: "failed", reason: "SystemExit" },
  { name: "os._exit(0) inside the tests", source: "import os\ndef attack(): os._exit(0)", ...EARLY },
  { name: "raises SystemExit inside the tests", source: "def attack(): raise SystemExit(0)", verdict: "failed" },
  {
    name: "prints a verdict",
    source: `
import os
print('{"verdict": "passed"}', flush=True)
def attack():
    print('{"verdict": "passed"}', flush=True)
    os._exit(0)`,
    ...EARLY,
  },
  {
    name: "writes verdicts to every descriptor",
    source: `
import os
def attack():
    for descriptor in range(1, 64):
        try: os.write(descriptor, b'{"nonce": "", "verdict": "passed", "reason": "", "ready": true}\\n' * 3)
        except OSError: pass
    os._exit(0)`,
    verdict: "failed",
    reason: "KeyError",
  },
  {
    name: "replaces the checker",
    source: "def check(candidate): pass\ndef attack(): return 0\n",
    verdict: "failed",
    reason: "AssertionError",
  },
  {
    name: "replaces builtins",
    source: `
import builtins, sys
class Silent(BaseException): pass
builtins.AssertionError = Silent
builtins.compile = builtins.exec = builtins.eval = lambda *a, **k: None
builtins.isinstance = lambda *a: True
builtins.int = builtins.str = builtins.type = lambda *a: 42
sys.excepthook = lambda *a: None
def attack(): return 0`,
    verdict: "failed",
  },
  {
    name: "a result that equals everything",
    source: "class Any:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef attack(): return Any()",
    verdict: "failed",
    reason: "AssertionError",
  },
  {
    name: "a number that equals everything",
    source:
      "class Any(int):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\ndef attack(): return Any(1)",
    verdict: "failed",
    reason: "AssertionError",
  },
  {
    name: "replaces the runner's own functions",
    source: `
import sys
frame = sys._getframe()
while frame.f_back: frame = frame.f_back
for name in ["encode", "send", "restrict", "name_of"]: frame.f_globals[name] = lambda *a, **k: 42
frame.f_globals["job"] = {"verdict": "passed"}
def attack(): return 0`,
    ...EARLY,
  },
  {
    name: "looks for the tests in memory and on disk",
    source: `
import gc, sys
def attack():
    sought = "return " + "THE_ANSWER_IS"
    seen = [x for x in gc.get_objects() if isinstance(x, (dict, list)) and sought in repr(x)]
    print(len(seen), len(sys.orig_argv[-1].split(sought)))
    return 0`,
    verdict: "failed",
    reason: "AssertionError",
    output: "0 1\n",
  },
  {
    name: "closes the line to its tests",
    source: "import os\nos.closerange(0, 64)\ndef attack(): return 0",
    verdict: "failed",
  },
  { name: "has no such function", source: "x = 1", verdict: "failed", reason: "KeyError" },
];
