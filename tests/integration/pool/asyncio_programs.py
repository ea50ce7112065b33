"""What tests of pools in asyncio programs run, and how they wait."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any


def square(x: int) -> int:
    return x * x


def fail_at_three(x: int) -> int:
    if x == 3:
        raise LookupError(x)
    return x


def wait_at(gate: str) -> int:
    """Say who waits there, and wait until it is opened."""
    Path(f"{gate}.{os.getpid()}").touch()
    while not os.path.exists(gate):
        time.sleep(0.01)
    return os.getpid()


def waiting_at(gate: Path) -> list[Path]:
    return list(gate.parent.glob(gate.name + ".*"))


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition without holding up the loop."""
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def numbers(count: int | None = None) -> AsyncIterator[int]:
    for number in itertools.count():
        if number == count:
            return
        yield number


def run(main: Callable[[], Any]) -> Any:
    """A loop of its own, in debug mode."""
    return asyncio.run(main(), debug=True)
