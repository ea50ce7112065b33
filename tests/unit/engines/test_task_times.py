"""What is remembered of functions that were mapped before, and by what they are known."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from achilles.core.tally import Tally
from achilles.engines.retrying import Retrying
from achilles.engines.task_times import MOST_FUNCTIONS, TaskTimes
from achilles.pool.wrapping import Starred


def tally(task_us: int, tasks: int = 1000, units: int = 1) -> Tally:
    return Tally(tasks, units, tasks * task_us + 20 * units)


def work(number: int) -> int:
    return number


def other(number: int) -> int:
    return number + 1


class Model:
    def predict(self, number: int) -> int:
        return number

    def __call__(self, number: int) -> int:
        return number


def decorated(func: Callable[[int], int]) -> Callable[[int], int]:
    @functools.wraps(func)
    def around(number: int) -> int:
        return func(number)

    return around


@pytest.mark.parametrize(
    ("noted", "asked"),
    [
        (work, work),
        (work, functools.partial(work, 1)),
        (functools.partial(work, 1), functools.partial(functools.partial(work), 2)),
        (Model().predict, Model().predict),
        (Model(), Model()),
        (decorated(work), work),
        (Retrying(work, 3, (ValueError,)), work),
        (Starred(work), work),
        (abs, abs),
        (str, str),
        ([].append, [1].append),
    ],
    ids=itertools.count(),
)
def test_a_function_is_known_by_what_it_runs(noted: Any, asked: Any) -> None:
    times = TaskTimes()
    times.note(noted, tally(50))
    assert times.expected_ns(asked) == 50_000


@pytest.mark.parametrize(
    ("noted", "asked"),
    [
        (work, other),
        (decorated(work), decorated(other)),
        (Model().predict, Model()),
        (abs, len),
        (str, int),
        (functools.partial(work, 1), functools.partial(other, 1)),
    ],
    ids=itertools.count(),
)
def test_others_are_not_taken_for_it(noted: Any, asked: Any) -> None:
    times = TaskTimes()
    times.note(noted, tally(50))
    assert times.expected_ns(asked) is None


def test_none_of_the_users_code_runs_for_it() -> None:
    class Spiteful:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

        def __hash__(self) -> int:
            raise AssertionError("hash")

        def __call__(self, number: int) -> int:
            return number

    times = TaskTimes()
    times.note(Spiteful(), tally(50))
    assert times.expected_ns(Spiteful()) == 50_000


def test_the_last_job_counts_in_full_only_if_it_was_quicker() -> None:
    times = TaskTimes()
    for task_us, expected_us in ((100, 100), (10, 10), (110, 40)):
        times.note(work, tally(task_us))
        assert times.expected_ns(work) == pytest.approx(expected_us * 1000)


def test_what_units_take_is_not_counted_and_what_did_nothing_says_nothing() -> None:
    times = TaskTimes()
    times.note(work, Tally())
    assert times.expected_ns(work) is None
    times.note(work, Tally(8, 4, 88))
    assert times.expected_ns(work) == 88_000 / 8 / 8


def test_so_many_functions_are_remembered() -> None:
    times = TaskTimes()
    functions = [eval(f"lambda x: {number}") for number in range(MOST_FUNCTIONS + 1)]
    for func in functions:
        times.note(func, tally(1))
        times.note(functions[0], tally(1))
    assert times.expected_ns(functions[0]) is not None
    assert times.expected_ns(functions[1]) is None
    assert all(times.expected_ns(func) is not None for func in functions[2:])
