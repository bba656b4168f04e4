import { type Attack, LIBC, TRY } from "./attack.js";

/** Reaching for what is not theirs. */
export const REACHING: readonly Attack[] = [
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
