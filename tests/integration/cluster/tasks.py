"""Functions that tests run on nodes, who fetch this module from the test's process."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Refused(ValueError):
    """An exception with a constructor of its own, which naive pickling gets wrong."""

    def __init__(self, item: int, *, reason: str) -> None:
        super().__init__(f"item {item}: {reason}")
        self.item = item
        self.reason = reason


def square(number: int) -> int:
    return number * number


def negate(number: int) -> int:
    return -number


def add_up(results: list[int]) -> int:
    return sum(results)


def make_function(number: int) -> Callable[[], int]:
    return lambda: number


def python_of(_: int) -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def half_a_millisecond(number: int) -> int:
    time.sleep(0.0005)
    return number


def identity(item: Any) -> Any:
    return item


def fail_first(item: tuple[str, int]) -> int:
    """Fail when it is run for the first time."""
    folder, number = item
    mark = Path(folder, str(number))
    if not mark.exists():
        mark.touch()
        raise ConnectionError(f"item {number} the first time")
    return number


def refuse_thirds(number: int) -> int:
    if number % 3 == 0:
        raise Refused(number, reason="divisible by three")
    return number


def pid_and_item(number: int) -> tuple[int, int]:
    """Which process ran it."""
    return os.getpid(), number


def parent_and_item(number: int) -> tuple[int, int]:
    """Which node ran it."""
    return os.getppid(), number


def after_gate(item: tuple[str, int]) -> tuple[int, int]:
    """Wait for a file, then tell which node ran it; each start leaves a mark beside the file."""
    gate, number = item
    with Path(f"{gate}.begun").open("a") as marks:
        marks.write(f"{os.getppid()} {number}\n")
    until = time.monotonic() + 60
    while not os.path.exists(gate) and time.monotonic() < until:
        time.sleep(0.005)
    return os.getppid(), number


def long_after_gate(item: tuple[str, int]) -> tuple[int, int]:
    """The same, and take longer than any message takes."""
    found = after_gate(item)
    time.sleep(0.03)
    return found


def between_marks(item: tuple[str, int]) -> tuple[int, int]:
    """Leave a mark at the beginning and one at the end; tell which node ran it."""
    path, number = item
    for mark in ("+", "-"):
        with Path(path).open("a") as marks:
            marks.write(f"{mark} {os.getppid()} {number}\n")
        time.sleep(0.01 if mark == "+" else 0)
    return os.getppid(), number


def pid_after(wait_s: float) -> int:
    time.sleep(wait_s)
    return os.getpid()


def behind_gate(item: tuple[str, int, bool, bool], size_bytes: int = 0) -> Any:
    """The item's number, or so many bytes; perhaps it fails, or waits for a file, and fails if none comes."""
    gate, number, waits, fails = item
    if fails:
        raise ValueError(number)
    until = time.monotonic() + 20
    while waits and not os.path.exists(gate):
        if time.monotonic() > until:
            raise TimeoutError(gate)
        time.sleep(0.005)
    return bytes([number]) * size_bytes if size_bytes else number


class OfThread:
    """A number that can be pickled in the thread that made it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.thread = threading.get_ident()

    def __reduce__(self) -> Any:
        if threading.get_ident() != self.thread:
            raise RuntimeError("another thread's")
        return int, (self.number,)


def with_thread(item: tuple[str, int, bool, bool]) -> OfThread:
    """The same, as something that no other thread can pickle."""
    return OfThread(behind_gate(item))
