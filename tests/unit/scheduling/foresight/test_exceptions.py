"""Exceptions: what was started beyond one is dropped, but for what nothing can have changed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import achilles
from tests.unit.scheduling.foresight.stub import StubCalls, run


@achilles.functional
def f(x: Any) -> Any:
    return copy.deepcopy(x)


@achilles.functional
def g(*args: Any) -> Any:
    return copy.deepcopy(args)


@achilles.functional
def fails(x: Any) -> Any:
    if x % 2:
        raise ValueError(x)
    return x


def scheduled(function: Any, calls: StubCalls) -> Any:
    return achilles.schedule(function, calls=calls.provider)


def test_an_exception_goes_where_the_program_has_it() -> None:
    def handled(xs: list[int]) -> Any:
        found = []
        for x in xs:
            try:
                found.append(fails(x))
            except ValueError as error:
                found.append(error.args)
        return found

    calls = run(handled, list(range(12)))
    assert calls.widths[0] == 8
    # Numbers stay what they are: what was started beyond the exception is still good.
    assert calls.started == 12
    assert not [label for what, label in calls.log if what == "cancel"]


def test_an_exception_leaves_the_function_and_cancels_the_rest() -> None:
    calls = StubCalls(2)

    def raising(xs: list[int]) -> Any:
        return [fails(x) for x in xs]

    with pytest.raises(ValueError, match="1"):
        scheduled(raising, calls)([2, 1, 4, 6, 8])
    assert [call.cancelled for call in (*calls.running, *calls.waiting)] == [True] * 3
    assert calls.ran()[:2] == ["fails(2)", "fails(1)"]


def test_after_a_handler_nothing_that_it_may_have_changed_is_taken() -> None:
    def handled(xs: list[int]) -> Any:
        items: list[int] = []
        alias = [items]
        found = []
        for x in xs:
            try:
                found.append(fails(x))
            except ValueError:
                alias[0].append(x)
            found.append(g(items, x))
        return found

    run(handled, list(range(8)))


def test_finally_with_an_exception_in_flight() -> None:
    def cleaning(xs: list[int]) -> Any:
        found = []
        items: list[int] = []
        try:
            try:
                for x in xs:
                    found.append(fails(x))
            finally:
                found.append(g(tuple(items)))
        except ValueError:
            items.append(1)
        return found, g(items)

    run(cleaning, [2, 3, 4])


def test_branches_that_are_not_taken_never_show() -> None:
    def guarded(xs: list[int]) -> Any:
        found = []
        for x in xs:
            y = f(x)
            if y % 2 == 0:
                found.append(fails(y))
        return found

    calls = run(guarded, list(range(8)))
    assert "fails(1)" not in calls.ran()


class Scale:
    def __init__(self) -> None:
        self.by = 2

    @achilles.functional
    def scaled(self, x: int) -> int:
        if x % 3 == 2:
            raise ValueError(x)
        return x * self.by


def test_a_handler_may_change_what_a_method_is_called_on() -> None:
    def methods(xs: list[int]) -> Any:
        scale = Scale()
        found = []
        for x in xs:
            try:
                found.append(scale.scaled(x))
            except ValueError:
                scale.by += 10
        return found

    run(methods, list(range(9)))


def test_a_handler_may_change_what_a_function_sees() -> None:
    by = [2]

    @achilles.functional
    def scaled(x: int) -> int:
        if x % 3 == 2:
            raise ValueError(x)
        return x * by[0]

    def closures(xs: list[int]) -> Any:
        by[0] = 2
        found = []
        for x in xs:
            try:
                found.append(scaled(x))
            except ValueError:
                by[0] += 10
        return found

    run(closures, list(range(9)))


def test_calls_that_are_never_reached_hold_up_no_others() -> None:
    def leaving(xs: list[int]) -> Any:
        found = []
        for _ in range(3):
            try:
                for x in xs:
                    found.append(fails(x))
            except ValueError:
                pass
        return [*found, *[f(x) for x in range(100, 140)]]

    calls = run(leaving, [0, 1, *range(2, 200, 2)])
    # All slots are busy with what is wanted, in the end.
    assert calls.overlapped("f(130)", "f(131)")
    assert calls.widths[-20] == 8
    assert calls.started <= 3 * (2 + 32) + 40
    assert all(call.done or call.cancelled for call in (*calls.running, *calls.waiting))
