"""Runs a program plainly and scheduled, and says where they differ."""

from __future__ import annotations

import linecache
import random
import re
from collections.abc import Callable, Generator
from typing import Any

from achilles.scheduling import functional, schedule
from achilles.scheduling.scheduled import scheduled_of

from .programs import program
from .stub_calls import StubCalls
from .world import FUNCTIONAL, World

__all__ = ["MODES", "Difference", "check", "compared"]

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


def check(seed: int, mode: str, size: int = 20) -> int:
    """Compare both runs of the program of a seed.

    Returns:
        How many functional calls were under way together at most.

    Raises:
        Difference: They aren't the same. Says how to see it again.
    """
    source = program(seed, size)
    plain, scheduled, most = compared(source, seed, mode)
    for what in plain:
        if plain[what] != scheduled[what]:
            raise Difference(
                f"{what} differs in mode {mode!r}\n"
                f"  plain:     {plain[what]}\n"
                f"  scheduled: {scheduled[what]}\n"
                f"see it again: python -m tests.differential --seed {seed} --mode '{mode}' --size {size}\n\n"
                f"{source}"
            )
    return most


def compared(source: str, seed: int, mode: str) -> tuple[dict[str, Any], dict[str, Any], int]:
    """What a plain and a scheduled run of a program show; and the most calls under way at once."""
    linecache.cache[FILENAME] = (len(source), None, source.splitlines(keepends=True), FILENAME)
    code = compile(source, FILENAME, "exec")
    calls = StubCalls(seed, **MODES[mode])

    def as_scheduled(function: Callable[..., Any]) -> Callable[..., Any]:
        made = schedule(function, calls=calls.provider)
        scheduled = scheduled_of(made)
        assert scheduled is not None
        scheduled.first()
        return made

    plain = _run(code, seed, lambda function: function)
    scheduled = _run(code, seed, as_scheduled)
    if calls.under_way:
        raise Difference(
            f"{len(calls.under_way)} calls are left over in mode {mode!r}, seed {seed}\n\n{source}"
        )
    return plain, scheduled, calls.most


def _run(code: Any, seed: int, decorate: Callable[..., Any]) -> dict[str, Any]:
    world = World()
    names = {**world.names(), "__name__": "program"}
    exec(code, names)
    function = decorate(names["program"])
    xs = [seed % 5, 2]
    seen: dict[str, Any] = {"error": None, "lines": None, "result": None}
    try:
        result = function(xs, seed % 7)
        seen["result"] = (
            _read(result, world, seed) if isinstance(result, Generator) else _PLACES.sub("", repr(result))
        )
    except Exception as error:  # noqa: BLE001 - the program's own
        seen["error"] = _described(error)
        seen["lines"] = _lines(error)
    seen["log"] = [_PLACES.sub("at …", line) for line in world.lines]
    seen["left"] = repr((xs, world.shared, names["COUNT"]))
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
    return found
