"""What scheduling costs: ``python -m benchmarks.scheduling``.

Two figures, both measured in one run, each beside what it is compared with:

stretch  Code of a scheduled function without functional calls, in proportion to the same code undecorated.
call     One functional call, on calls that do nothing: all of its cost is ours.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from achilles.scheduling import functional, schedule
from achilles.scheduling.calls import Started

STRETCH_BAR = 1.2
CALL_BAR_US = 100.0


@functional
def nothing(x: Any) -> int:
    return 1


class Nothing:
    """A call whose result is 1."""

    failed = False
    outcome = 1

    def __init__(self, finished: deque[Started]) -> None:
        self.done = False
        self._finished = finished

    def finish(self) -> None:
        self.done = True
        self._finished.append(self)

    def cancel(self) -> None:
        self.done = True


class NoCalls:
    """Runs nothing.

    Args:
        at_once: Whether calls are done when they are started; else when somebody waits.
    """

    slots = 8

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._open: deque[Nothing] = deque()

    def start(self, function: Any, args: Any, kwargs: Any, finished: deque[Started]) -> Started:
        started = Nothing(finished)
        if self._at_once:
            started.finish()
        else:
            self._open.append(started)
        return started

    def wait(self, started: Started, finished: deque[Started]) -> None:
        while self._open:
            self._open.popleft().finish()

    @contextmanager
    def provider(self) -> Iterator[NoCalls]:
        yield self


def plain_stretch(n: int) -> float:
    y = nothing(1)
    total = 0.0
    seen = []
    for i in range(n):
        x = i * 0.5 + y
        if x > 3.0 and i % 7:
            total += x / 3.0
        else:
            total -= abs(x)
        if i % 100 == 0:
            seen.append(len(seen) + x)
    values = {}
    for i in range(n // 10):
        values[i % 50] = values.get(i % 50, 0) + i
    return total + sum(seen) + len(values)


def many_calls(n: int) -> int:
    outputs = []
    for i in range(n):
        y = nothing(i)
        if y > 3:
            y = nothing(y)
        outputs.append(y)
    return len(outputs)


def chained_calls(n: int) -> int:
    y = 0
    for _ in range(n):
        y = nothing(y)
    return y


def seconds(function: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


class Figures(NamedTuple):
    """What was measured.

    Attributes:
        stretch: Time of a stretch in the scheduled function, in proportion to undecorated.
        call_us: By kind of loop, microseconds that a functional call costs.
        long_call_us: The same in a loop ten times as long.
    """

    stretch: float
    call_us: dict[str, float]
    long_call_us: dict[str, float]


def measured(items: int = 200_000, count: int = 5_000, rounds: int = 7) -> Figures:
    """Measure, plain and scheduled by turns.

    Args:
        items: Rounds of the stretch's loop.
        count: Functional calls in a loop.
        rounds: How often; the median counts.
    """
    stretch = schedule(plain_stretch, calls=NoCalls(at_once=True).provider)
    later = NoCalls(at_once=False).provider
    stretch(1000)
    ratios = []
    for _ in range(rounds):
        plain_s = seconds(lambda: plain_stretch(items))
        ratios.append(seconds(lambda: stretch(items)) / plain_s)
    call_us, long_call_us = {}, {}
    for name, plain in (("independent", many_calls), ("each after the other", chained_calls)):
        scheduled = schedule(plain, calls=later)
        scheduled(100)
        for times, found in ((1, call_us), (10, long_call_us)):
            n = times * count
            costs_s = [
                seconds(lambda f=scheduled, n=n: f(n)) - seconds(lambda f=plain, n=n: f(n))
                for _ in range(rounds if times == 1 else 1)
            ]
            found[name] = statistics.median(costs_s) / n * 1e6
    return Figures(statistics.median(ratios), call_us, long_call_us)


def main() -> int:
    figures = measured()
    print(f"stretch without functional calls: {figures.stretch:.2f} × undecorated (bar: {STRETCH_BAR})")
    for name, cost_us in figures.call_us.items():
        print(
            f"one functional call, {name}: {cost_us:.1f} µs (bar: {CALL_BAR_US:.0f}); "
            f"{figures.long_call_us[name]:.1f} µs each in a loop ten times as long"
        )
    good = figures.stretch <= STRETCH_BAR and max(figures.call_us.values()) < CALL_BAR_US
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
