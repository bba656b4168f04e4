import { type Attack, EARLY, LIBC, NEVER_ENDS, TRY } from "./attack.js";

/** Exhausting the machine. */
export const EXHAUSTION: readonly Attack[] = [
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
