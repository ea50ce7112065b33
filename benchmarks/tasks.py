"""What the workers are asked to do. Every peer can import it, so no peer pays for sending code."""

from __future__ import annotations

import time
from typing import Any


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
        pass
    return now_s - began_s
