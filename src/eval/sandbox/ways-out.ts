import type { Program } from "./sandbox.js";

/** A program that looks for ways out of its sandbox, prints those it finds, and passes if there are none. */
export const WAYS_OUT: Program = {
  source: `
import os, resource, socket

def ways_out():
    found = []
    if [name for _, name in socket.if_nameindex() if name != "lo"]:
        found.append("reach the network")
    if os.getuid() == 0:
        found.append("be root")
    if os.getpid() > 100:
        found.append("see the processes of others")
    for folder in ["/etc/passwd", "/proc/1", "/var", "/run"]:
        if os.path.exists(folder):
            found.append("see " + folder)
    for folder in ["/", "/usr", "/dev", "/dev/shm"]:
        try:
            open(os.path.join(folder, "moescope-probe"), "w").close()
            found.append("write to " + folder)
        except OSError:
            pass
    for kind in [resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE]:
        if resource.getrlimit(kind)[1] == resource.RLIM_INFINITY:
            found.append("do without limits")
    extra = 0
    try:
        while extra < 64:
            if os.fork() == 0:
                import time
                time.sleep(60)
                os._exit(0)
            extra += 1
        found.append("start any number of processes")
    except OSError:
        pass
    print(", ".join(found))
    return found
`,
  entryPoint: "ways_out",
  prelude: "",
  tests: "assert ways_out() == []",
};
