"""What foresight holds, and how much it does, doesn't grow with what the program has behind it."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

import achilles
from achilles.scheduling.foresight import combining, entries
from achilles.scheduling.foresight.waiting import Deferred
from achilles.scheduling.foresight.walking import OPERATIONS, Frame, Operation, Walk
from tests.unit.scheduling.foresight.stub import StubCalls, run


@achilles.functional
def f(x: Any) -> Any:
    return x


@achilles.functional
def size(x: Any) -> int:
    return len(x)


def summed(n: int) -> int:
    total = 0
    for i in range(n):
        y = f(i)
        if y % 2:
            total += y
    return total


def test_no_more_is_under_way_than_the_slots_need() -> None:
    for slots, most in ((1, 33), (8, 33), (50, 201)):
        assert run(summed, 400, slots=slots).most_under_way == most


def _peak_bytes(n: int) -> int:
    calls = StubCalls(4)
    calls.keep_log = False
    scheduled = achilles.schedule(summed, calls=calls.provider)
    scheduled(2500)  # fills CPython's own lists of free tuples
    calls.widths.clear()
    tracemalloc.start()
    try:
        scheduled(n)
        return tracemalloc.get_traced_memory()[1] - sys.getsizeof(calls.widths)
    finally:
        tracemalloc.stop()


def test_a_long_loop_leaves_nothing_behind() -> None:
    short = _peak_bytes(150)
    assert _peak_bytes(1200) < short + 30_000


def test_the_cost_of_a_call_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    done = 0

    def counting(operate: Operation) -> Operation:
        def counted(walk: Walk, frame: Frame, argument: Any) -> None:
            nonlocal done
            done += 1
            operate(walk, frame, argument)

        return counted

    for name, operate in OPERATIONS.items():
        monkeypatch.setitem(OPERATIONS, name, counting(operate))
    costs = {}
    for n in (200, 400, 800):
        done = 0
        run(summed, n)
        costs[n] = done
    assert costs[400] - costs[200] > 200 * 5
    assert costs[800] - costs[400] <= 2.1 * (costs[400] - costs[200])


def test_large_arguments_bound_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    base = np.zeros(100_000, dtype="u1")

    def large(n: int) -> list[int]:
        return [size(base + i) for i in range(n)]

    assert run(large, 40, slots=2).most_under_way == 33
    monkeypatch.setattr(entries, "_AHEAD_BYTES", 500_000)
    calls = run(large, 40, slots=2)
    assert calls.most_under_way < 10
    assert calls.widths[0] == 2


def test_an_endless_loop_without_calls_ends_with_the_wait() -> None:
    def spinning(n: int) -> Any:
        y = f(n)
        i = 0
        while i < 3_000_000 and y is None:
            i += 1
        while i < 50_000:
            i += 1
        return y, i

    assert run(spinning, 1).started == 1


def test_pending_operations_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    class Counted(Deferred):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            nonlocal made
            made += 1
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(combining, "Deferred", Counted)

    def piling(n: int) -> Any:
        y = f(1)
        total = y
        for _ in range(n):
            total = total + y
        return f(total)

    # The loop is walked while the first call is under way, but not all of it.
    calls = run(piling, 30_000)
    assert calls.started == 2
    assert 100 < made < 1000


@achilles.functional
def line(number: int, length: int) -> bytes:
    return bytes(length)


def lengths_of_lines(n: int, length: int) -> int:
    total = 0
    for number in range(n):
        total += len(line(number, length))
    return total


@pytest.mark.parametrize(("length", "ahead"), [(0, 32), (950, 10), (5000, 4)])
def test_no_more_large_results_wait_than_fit(
    length: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_AHEAD_BYTES", 10_000)
    # Those that came first are done last, so all the others wait for the real run.
    calls = run(lengths_of_lines, 60, length, slots=2, newest_first=True)
    first_done = calls.log.index(("done", f"line(0, {length})"))
    started = sum(what == "start" for what, _ in calls.log[:first_done])
    assert started == 1 + ahead


def test_nothing_is_known_of_results_before_the_first() -> None:
    """They may be large: every slot has a call, and another one that waits."""
    calls = run(lengths_of_lines, 60, 5, slots=4)
    before = [what for what, _ in calls.log[: calls.log.index(("done", "line(0, 5)"))]]
    assert before.count("start") == 1 + 2 * 4
