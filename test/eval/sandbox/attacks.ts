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
const TRY = `
def attempt(*actions):
    for action in actions:
        try:
            action()
            print("done")
        except BaseException as error:
            print(type(error).__name__)
`;

const LIBC = "import ctypes, os, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n";
const SHORT = { timeoutMs: 700 };
const NEVER_ENDS = { verdict: "timeout", reason: "more than 0.7 s", limits: SHORT } as const;
const EARLY = { verdict: "failed", reason: "the program ended before its tests did" } as const;

/** Exhausting the machine. */
const EXHAUSTION: Attack[] = [
  { name: "while True", source: "def attack():\n    while True: pass", ...NEVER_ENDS },
  { name: "long sleep", source: "import time\ndef attack():\n    time.sleep(3600)", ...NEVER_ENDS },
  { name: "never comes to its function", source: "while True: pass", ...NEVER_ENDS },
  {
    name: "ignores all signals",
    source: `
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
def attack():
    while True: pass`,
    ...NEVER_ENDS,
  },
  {
    name: "fork bomb",
    source: `
import ctypes, os
ctypes.CDLL(None).prctl(15, b"moescope-bomb")
def attack():
    while True:
        try: os.fork()
        except OSError: pass`,
    ...NEVER_ENDS,
  },
  {
    name: "more processes than allowed",
    source: `
import os, time
def attack():
    for started in range(100):
        try:
            if os.fork() == 0: time.sleep(60)
        except OSError:
            print(started)
            return 42`,
    verdict: "passed",
    output: "3\n",
  },
  {
    name: "thread bomb",
    source: `
import threading, time
def attack():
    while True: threading.Thread(target=time.sleep, args=(60,)).start()`,
    verdict: "failed",
    reason: "RuntimeError",
  },
  { name: "10 GB of memory", source: "def attack():\n    return len(bytearray(10 * 2**30))", verdict: "memory" },
  {
    name: "10 GB in small pieces",
    source: "def attack():\n    pieces = []\n    while True: pieces.append(bytearray(2**20))",
    verdict: "memory",
  },
  {
    name: "memory that outlives its process",
    source: `${LIBC}
def attack():
    print(libc.shmget(0, 2**30, 0o1600), errno.errorcode[ctypes.get_errno()])
    print(libc.memfd_create(b"x", 0), errno.errorcode[ctypes.get_errno()])
    return 42`,
    verdict: "passed",
    output: "-1 EPERM\n-1 EPERM\n",
  },
  {
    name: "a file of 1 GB",
    source: `${TRY}
def fill():
    with open("/tmp/large", "wb") as file:
        for _ in range(1024): file.write(bytes(2**20))
def attack():
    attempt(fill)
    return 42`,
    verdict: "passed",
    output: "OSError\n",
  },
  {
    name: "many files of 1 MB",
    source: `${TRY}
def fill():
    for i in range(1000):
        with open(f"/tmp/{i}", "wb") as file: file.write(bytes(2**20))
def attack():
    attempt(fill)
    return 42`,
    verdict: "passed",
    output: "OSError\n",
  },
  {
    name: "endless output",
    source: "def attack():\n    while True: print('x' * 10000)",
    verdict: "output",
    reason: "more than 4194304 bytes",
  },
  { name: "endless answer", source: "def attack():\n    return 'x' * 2**23", verdict: "output" },
  {
    name: "an answer of 10,000 lists in each other",
    source: "def attack():\n    x = []\n    for _ in range(10000): x = [x]\n    return x",
    verdict: "failed",
    reason: "RecursionError",
  },
  {
    name: "an answer without end",
    source: "import itertools\ndef attack():\n    return itertools.count()",
    verdict: "failed",
    reason: "AssertionError",
  },
  { name: "endless recursion", source: "def attack(): return attack()", verdict: "failed", reason: "RecursionError" },
  { name: "a number of four million digits", source: "def attack(): return 1 << 2**24", verdict: "output" },
  {
    name: "an error with an endless name",
    source: "def attack(): raise type('x\\n' * 10**6, (Exception,), {})",
    verdict: "failed",
    reason: "Exception",
  },
  { name: "a crash of the interpreter", source: "import ctypes\ndef attack():\n    ctypes.string_at(0)", ...EARLY },
];

/** Reaching for what is not theirs. */
const REACHING: Attack[] = [
  {
    name: "network",
    source: `${TRY}
import socket, urllib.request
def attack():
    attempt(lambda: socket.create_connection(("127.0.0.1", HOST_PORT), 1),
            lambda: socket.create_connection(("1.1.1.1", 53), 1),
            lambda: socket.getaddrinfo("example.org", 80),
            lambda: urllib.request.urlopen("http://127.0.0.1:HOST_PORT/", timeout=1))
    print([name for _, name in socket.if_nameindex()])
    return 42`,
    verdict: "passed",
    output: "ConnectionRefusedError\nOSError\ngaierror\nURLError\n['lo']\n",
  },
  {
    name: "home folder",
    source: `${TRY}
import os
def attack():
    attempt(lambda: os.listdir("/root"), lambda: os.listdir("/home"), lambda: open("/etc/passwd").read(), lambda: os.listdir("HOST_FOLDER"))
    print(sorted(os.listdir("/tmp")))
    return 42`,
    verdict: "passed",
    output: "FileNotFoundError\nFileNotFoundError\nFileNotFoundError\nFileNotFoundError\n[]\n",
  },
  {
    name: "environment",
    source: "import os\ndef attack():\n    print(sorted(os.environ))\n    return 42",
    verdict: "passed",
    output: "['HOME', 'LANG', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'PATH', 'PWD', 'PYTHONHASHSEED']\n",
  },
  {
    name: "writing outside",
    source: `${TRY}
def attack():
    for path in ["/etc/passwd", "/usr/x", "/x", "/dev/x", "/dev/shm/x", "/bin/sh", "HOST_FOLDER/x"]:
        attempt(lambda: open(path, "w"))
    return 42`,
    verdict: "passed",
    output: `${"OSError\n".repeat(6)}FileNotFoundError\n`,
  },
  {
    name: "symlinks and paths that climb",
    source: `${TRY}
import os
def attack():
    os.symlink("/", "/tmp/root")
    os.symlink("HOST_FOLDER", "/tmp/folder")
    attempt(lambda: open("/tmp/root/etc/passwd"), lambda: os.listdir("/tmp/folder"), lambda: os.listdir("../../../../home"),
            lambda: open("/tmp/root/x", "w"))
    return 42`,
    verdict: "passed",
    output: "FileNotFoundError\nFileNotFoundError\nFileNotFoundError\nOSError\n",
  },
  {
    name: "signalling the parent and everybody",
    source: `${TRY}
import os, signal
def attack():
    attempt(lambda: os.kill(HOST_PID, signal.SIGKILL))
    for target in [os.getppid(), 1, -1, 0]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try: os.kill(target, signal.SIGTERM)
        except OSError: pass
    return 42`,
    verdict: "passed",
    output: "ProcessLookupError\n",
  },
  {
    name: "starts other programs",
    source: `
import subprocess
def attack():
    for command in ["cat /etc/passwd", "touch HOST_FOLDER/x", "kill -9 HOST_PID", "id -u"]:
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True)
        print(done.returncode != 0, done.stdout.decode().strip())
    return 42`,
    verdict: "passed",
    output: "True \nTrue \nTrue \nFalse 65534\n",
  },
  {
    name: "/proc/self",
    source: `${TRY}
import os
def attack():
    attempt(lambda: open("/proc/self/mem", "r+b"), lambda: open("/proc/self/oom_score_adj", "w"), lambda: os.listdir("/proc/1/root"),
            lambda: os.listdir("/proc"), lambda: os.listdir("/sys"))
    return 42`,
    verdict: "passed",
    output: "FileNotFoundError\n".repeat(5),
  },
  {
    name: "namespaces, tracing and raised limits",
    source: `${LIBC}${TRY}
import resource
CLONE_NEWUSER, PTRACE_ATTACH = 0x10000000, 16
def attack():
    for result in [libc.unshare(CLONE_NEWUSER), libc.ptrace(PTRACE_ATTACH, os.getppid(), 0, 0), libc.mount(b"x", b"/tmp", b"tmpfs", 0, None)]:
        print(result, errno.errorcode[ctypes.get_errno()])
    attempt(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)), lambda: os.setuid(0))
    return 42`,
    verdict: "passed",
    output: "-1 EPERM\n-1 EPERM\n-1 EPERM\nValueError\nOSError\n",
  },
];

/** Passing without having done the work: the function never returns 42. */
const FORGERY: Attack[] = [
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

export const ATTACKS: readonly Attack[] = [...EXHAUSTION, ...REACHING, ...FORGERY];
