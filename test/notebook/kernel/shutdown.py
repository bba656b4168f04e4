"""Starts the moescope kernel, leaves a loop and a child process running in it, and looks that restart and shutdown end both."""

import os
import time

from jupyter_client.manager import start_new_kernel

CHILD = 'import { spawn } from "node:child_process"; const child = spawn("sleep", ["1000"]); console.log(process.pid, child.pid);'


def pids(client):
    """Pids of the kernel and of a child that a cell starts."""
    found = []
    client.execute_interactive(
        CHILD,
        output_hook=lambda message: found.append(message["content"].get("text", "")),
        timeout=60,
    )
    return [int(word) for word in "".join(found).split()]


def expect_gone(numbers, seconds=10):
    deadline = time.time() + seconds
    for number in numbers:
        while os.path.exists(f"/proc/{number}") and "Z" not in open(f"/proc/{number}/stat").read().split(")")[1][:3]:
            assert time.time() < deadline, f"{number} still runs"
            time.sleep(0.1)


manager, client = start_new_kernel(kernel_name="moescope", startup_timeout=60)
before = pids(client)
client.execute("await null; while (true) {}")
time.sleep(1)
manager.restart_kernel(now=False)
expect_gone(before)
client.wait_for_ready(timeout=60)
after = pids(client)
assert after[0] != before[0]
client.execute("while (true) {}")
time.sleep(1)
started = time.time()
manager.shutdown_kernel(now=False)
client.stop_channels()
expect_gone(after)
print(f"all gone, shutdown took {time.time() - started:.1f} s")
