"""Nothing of foresight is left when a function is over, and it needs no garbage collector for that."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import achilles
from achilles.scheduling.foresight import Foresight
from tests.unit.scheduling.foresight.stub import StubCalls


@achilles.functional
def f(x: Any) -> Any:
    return x


@achilles.functional
def fails(x: Any) -> Any:
    raise ValueError(x)


def plain(n: int) -> Any:
    return [f(i) for i in range(n)]


def chained(n: int) -> Any:
    total = f(1)
    for i in range(n):
        total = total + f(i) * 2
        if total % 2:
            total = f(total)
    return total


def failing(n: int) -> Any:
    y = f(1)
    for i in range(n):
        y = y + f(i)
    fails(n)
    z = f(y)
    for i in range(n):
        if z + i > 3:
            z = z + f(i + z)
    return z


def handled(n: int) -> Any:
    found = []
    for i in range(n):
        try:
            y = fails(i)
            found.append(f(y + 1) if y else 0)
        except ValueError:
            found.append(f(-i))
    return found


def closing(n: int) -> Any:
    def inner(x: int) -> Any:
        y = f(x)
        return inner(x - 1) + y if x > 0 else y

    return [inner(i) for i in range(n)]


def stopped(n: int) -> Any:
    inner = lambda x: f(x)  # noqa: E731
    y = f(n)
    z = y + f(n + 1)
    print(end="")
    return z, inner(n)


def left(n: int) -> Any:
    for i in range(n):
        if f(i) == 2:
            return [f(i + 1) + y for y in (1, 2)]
    return None


def ours() -> list[str]:
    """Objects of foresight's own that are alive, but for the programs of functions."""
    found = (type(each) for each in gc.get_objects())
    names = ("ahead", "values", "waiting", "walking")
    modules = {f"achilles.scheduling.foresight.{name}" for name in names}
    # The object itself, which is empty then, is the run's, and goes with that.
    return [kind.__name__ for kind in found if kind.__module__ in modules and kind is not Foresight]


@pytest.mark.parametrize("function", [plain, chained, failing, handled, closing, stopped, left])
def test_nothing_is_left(function: Any) -> None:
    calls = StubCalls(4)
    scheduled = achilles.schedule(function, calls=calls.provider)
    gc.collect()
    before = ours()
    gc.disable()
    try:
        try:
            scheduled(12)
        except ValueError as error:
            error.__traceback__ = None
        calls.running.clear()
        calls.waiting.clear()
        assert ours() == before
    finally:
        gc.enable()
