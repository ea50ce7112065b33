"""Functions that the tests run in workers."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

from achilles.workers.leaving import leave_after_this_item


def square(x):
    return x * x


def square_slowly(x):
    for _ in range(2000):
        pass
    return x * x


def identity(x):
    return x


def add_one(x):
    return x + 1


def total(results):
    return sum(results)


def show(results):
    return [repr(result) for result in results]


def fail_at_two(x):
    if x == 2:
        raise ValueError("two is bad")
    return x


def misbehave(how):
    if how == "exit":
        sys.exit(7)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "recurse":
        return misbehave(how)
    if how == "lock":
        return threading.Lock()
    return how


def die(how):
    if how == "exit3":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    return how


def wait_forever(_):
    threading.Event().wait()


def spawn_child_then(what):
    """Leave a child process running; then return its pid, or die."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(300)"])
    if what == "die":
        os._exit(4)
    pid = child.pid
    child.returncode = 0  # nobody waits for it here
    return pid


def fork_and_return(x):
    """The child comes back up through the worker's own code."""
    pid = os.fork()
    return (x, pid)


def print_and_close(x):
    print("printed by", x)
    sys.stdout.flush()
    for fd in (0, 1, 2):
        os.close(fd)
    return x


def close_all_descriptors(x):
    os.closerange(3, 1024)
    return x


def describe(_):
    return {
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),
        "stdin": sys.stdin.read(),
        "modules": sorted(sys.modules),
        "main": getattr(sys.modules["__main__"], "__file__", None),
    }


def import_in_thread(name):
    """Import in a thread while the main thread waits for it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(__import__(name).VALUE))
    thread.start()
    thread.join()
    return found[0]


def take_memory(size_bytes):
    block = bytearray(b"x") * size_bytes
    return len(block)


def use_pool(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


class Unloadable:
    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise RuntimeError("cannot be loaded")


class Mourned:
    """A function that leaves a file when the worker lets go of it."""

    def __init__(self, path):
        self.path = path
        self.home = os.getpid()

    def __call__(self, item):
        return item

    def __del__(self):
        if os.getpid() != self.home:
            open(self.path, "w").close()


def leave_at_two(x):
    if x == 2:
        leave_after_this_item()
    return x
