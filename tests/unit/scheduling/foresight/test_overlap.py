"""What runs at the same time: read from the log of a stub, never from a clock."""

from __future__ import annotations

from typing import Any

import achilles

from .stub import run


@achilles.functional
def f(x: Any) -> Any:
    return x + 1


@achilles.functional
def g(x: Any) -> Any:
    return x * 2


@achilles.functional
def h(x: Any) -> Any:
    return x * 3


@achilles.functional
def k(x: Any, y: Any = 0) -> Any:
    return (x, y)


LOG: list[Any] = []


def log(value: Any) -> None:
    LOG.append(value)


def test_the_quick_start_keeps_eight_slots_busy() -> None:
    def pipeline(inputs: list[int]) -> list[int]:
        outputs: list[int] = []
        for each in inputs:
            output = f(each)
            outputs = outputs + [output]
        return outputs

    calls = run(pipeline, list(range(40)))
    assert calls.widths[:32] == [8] * 32
    assert calls.started == 40


def test_a_diamond_overlaps_its_sides() -> None:
    def diamond(x: int) -> Any:
        a = f(x)
        b = g(a)
        c = h(a)
        return k(b, c)

    calls = run(diamond, 1)
    assert calls.overlapped("g(2)", "h(2)")
    assert calls.started == 4
