"""What the workers are asked to do. Every peer can import it, so no peer pays for sending code."""

from __future__ import annotations

import os
import time
from typing import Any

# Some µs of counting.
STEPS_PER_LOOK = 200


def no_op(item: Any) -> Any:
    """Give the argument back."""
    return item


def size_of(array: Any) -> int:
    """A large argument in, a small result out."""
    return int(array.nbytes)


def no_op_over(array: Any, item: int) -> int:
    """For a partial that holds a large array, and does nothing with it."""
    return item


def spin(cpu_us: int) -> float:
    """Pure Python for so many µs of this process's CPU time; returns the seconds that it took of it."""
    began_s = time.process_time()
    end_s = began_s + cpu_us / 1e6
    while (now_s := time.process_time()) < end_s:
        # To read this clock is a system call, and a task of these would be the kernel's work.
        for _ in range(STEPS_PER_LOOK):
            pass
    return now_s - began_s


def stamped(cpu_us: int) -> tuple[int, float, float, float]:
    """Spin; who did it, from when to when on the clock that all processes share, and CPU seconds."""
    began_s = time.monotonic()
    cpu_s = spin(cpu_us)
    return os.getpid(), began_s, time.monotonic(), cpu_s
