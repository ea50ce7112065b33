"""Runs a program plainly and scheduled, and says where they differ."""

from __future__ import annotations

import linecache
import random
import re
from collections.abc import Callable, Generator, Iterable
from typing import Any

from achilles.scheduling import functional, schedule
from achilles.scheduling.scheduled import scheduled_of

from .programs import program
from .stub_calls import StubCalls
from .world import FUNCTIONAL, World

__all__ = ["MODES", "Difference", "Subject", "check"]

for _function in FUNCTIONAL:
    functional(_function)

#: By name, what calls a run has: whether results are handles, and how many slots.
MODES: dict[str, dict[str, Any]] = {
    "values": {"keeps": False, "slots": 4},
    "handles": {"keeps": True, "slots": 4},
    "one slot": {"keeps": False, "slots": 1},
}

FILENAME = "<program>"
_PLACES = re.compile(r"at 0x[0-9a-f]+")  # of objects in memory


class Difference(AssertionError):
    """Scheduled and plain execution of a program differ."""


def check(seed: int, modes: Iterable[str] = MODES, size: int = 20) -> tuple[int, int]:
    """Compare plain and scheduled runs of the program of a seed, on some inputs.

    Returns:
        How many scheduled runs there were, and in how many of them functional calls overlapped.

    Raises:
        Difference: They aren't the same. Says how to see it again.
    """
    source = program(seed, size)
    subject = Subject(source)
    runs = overlapped = 0
    for numbered in (seed, seed + 1):
        plain = subject.plain(numbered)
        for mode in modes:
            scheduled, most = subject.scheduled(numbered, mode)
            runs += 1
            overlapped += most > 1
            for what in plain:
                if plain[what] != scheduled[what]:
                    raise Difference(
                        f"{what} differs in mode {mode!r}, input {numbered}\n"
                        f"  plain:     {plain[what]}\n"
                        f"  scheduled: {scheduled[what]}\n"
                        f"see it again: python -m tests.differential --seed {seed} --mode '{mode}' "
                        f"--size {size}\n\n{source}"
                    )
    return runs, overlapped


class Subject:
    """A program, translated once, to be run with fresh surroundings each time.

    Args:
        source: Defines ``program(xs, n)``.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        linecache.cache[FILENAME] = (len(source), None, source.splitlines(keepends=True), FILENAME)
        self._names: dict[str, Any] = {}
        self._calls = StubCalls()
        self._surround(World())
        exec(compile(source, FILENAME, "exec"), self._names)
        self._plain = self._names["program"]
        self._scheduled = schedule(self._plain, calls=lambda: self._calls.provider())
        scheduled = scheduled_of(self._scheduled)
        assert scheduled is not None
        scheduled.first()  # its own frame would be in the traceback of the first call

    def plain(self, seed: int) -> dict[str, Any]:
        """What a plain run shows."""
        return self._run(self._plain, seed)

    def scheduled(self, seed: int, mode: str) -> tuple[dict[str, Any], int]:
        """What a scheduled run shows, and how many calls were under way at once at most."""
        self._calls = StubCalls(seed, **MODES[mode])
        seen = self._run(self._scheduled, seed)
        seen["left over"] = len(self._calls.under_way)
        return seen, self._calls.most

    def _surround(self, world: World) -> None:
        self._names.clear()
        self._names.update(world.names(), __name__="program")

    def _run(self, function: Callable[..., Any], seed: int) -> dict[str, Any]:
        world = World()
        self._surround(world)
        xs = [seed % 5, 2]
        seen: dict[str, Any] = {"error": None, "lines": None, "result": None, "left over": 0}
        try:
            result = function(xs, seed % 7)
            read = _read(result, world, seed) if isinstance(result, Generator) else [repr(result)]
            seen["result"] = [_PLACES.sub("at …", each) for each in read]
        except Exception as error:  # noqa: BLE001 - the program's own
            seen["error"] = _described(error)
            seen["lines"] = _lines(error)
        seen["log"] = [_PLACES.sub("at …", line) for line in world.lines]
        seen["left"] = repr((xs, world.shared, self._names["COUNT"]))
        return seen


def _read(generator: Generator[Any, Any, Any], world: World, seed: int) -> list[str]:
    """Drive a generator in a way that the seed decides."""
    source = random.Random(seed)
    seen: list[str] = []
    value = None
    for _ in range(30):
        try:
            how = source.random()
            if how < 0.1 and seen:
                seen.append(repr(generator.throw(ValueError("thrown"))))
            elif how < 0.15 and seen:
                generator.close()
                seen.append("closed")
            else:
                seen.append(repr(generator.send(value)))
            value = len(seen) if source.random() < 0.5 else None
            world.lines.append(f"read {len(seen)}")
            world.shared[0] = len(seen)  # whatever the program shares may be changed while it waits
        except StopIteration as stop:
            seen.append(f"returned {stop.value!r}")
            break
    generator.close()
    return seen


def _described(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found.append(f"{type(error).__name__}{error.args!r}")
        error = error.__context__
    return found


def _lines(error: BaseException) -> list[tuple[str, int]]:
    """The program's own frames in a traceback, and those of achilles, of which there should be none."""
    found = []
    entry = error.__traceback__
    while entry is not None:
        filename = entry.tb_frame.f_code.co_filename
        if filename == FILENAME or "achilles/scheduling" in filename:
            found.append((entry.tb_frame.f_code.co_qualname, entry.tb_lineno))
        entry = entry.tb_next
    if found and isinstance(error, UnboundLocalError):
        # Once code is warm, Python 3.11 may say the line before: it loads with the store of that.
        found[-1] = (found[-1][0], 0)
    return found
