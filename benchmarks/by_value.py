"""What it costs to send functions and objects of ``__main__``, beside dill and what dill cannot do.

Run: python benchmarks/by_value.py
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import dill

from achilles.serialization import serialize


@dataclass
class Point:
    x: int
    y: int


def square(number: int) -> int:
    return number**2


def is_even(number: int) -> bool:
    return number == 0 or is_odd(number - 1)


def is_odd(number: int) -> bool:
    return number != 0 and is_even(number - 1)


def best_us(call: Callable[[], Any]) -> float:
    timer = timeit.Timer(call)
    loops = max(1, timer.autorange()[0] // 4)
    return min(timer.repeat(5, loops)) / loops * 1e6


def by_dill(obj: Any) -> str:
    def dumps() -> bytes:
        return bytes(dill.dumps(obj, protocol=5, byref=False, recurse=True))

    try:
        dumps()
    except RecursionError:
        return "RecursionError"
    return f"{best_us(dumps):,.0f} µs"


def main() -> None:
    points = [Point(number, -number) for number in range(1000)]
    print(f"{'':<34} {'achilles':>12} {'dill, recurse=True':>20}")
    for name, obj in (
        ("a function of one line", square),
        ("two functions that call each other", is_even),
        ("1,000 objects of a class", points),
    ):
        ours = best_us(partial(serialize, obj, name))
        print(f"{name:<34} {ours:>9,.0f} µs {by_dill(obj):>20}")


if __name__ == "__main__":
    main()
