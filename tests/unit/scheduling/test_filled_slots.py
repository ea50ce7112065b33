"""All slots are busy at once, whatever syntax the functional calls are in.

Each function here is also run as it is, and must give the same (see `stub.run`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import achilles
from tests.unit.scheduling.foresight.stub import run


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
def k(*args: Any, **kwargs: Any) -> Any:
    return (*args, *kwargs.values())


def in_a_list(xs: list[int]) -> Any:
    return [f(x) for x in xs]


def in_a_set(xs: list[int]) -> Any:
    return sorted({f(x) for x in xs})


def in_a_dictionary(xs: list[int]) -> Any:
    return {x: f(x) for x in xs}


def in_the_keys(xs: list[int]) -> Any:
    return {f(x): x for x in xs}


def with_a_known_condition(xs: list[int]) -> Any:
    return [f(x) for x in xs if x % 3]


def in_two_clauses(xs: list[int]) -> Any:
    return [f(x + y) for x in xs for y in (0, 100)]


def in_a_generator_expression(xs: list[int]) -> Any:
    return sum(f(x) for x in xs)


def in_tuple_of_a_generator_expression(xs: list[int]) -> Any:
    return tuple(f(x) for x in xs if x)


def over_a_generator_expression(xs: list[int]) -> Any:
    found = []
    for y in (f(x) for x in xs):
        found.append(g(y))
    return found


def over_a_generator_expression_with_conditions(xs: list[int]) -> Any:
    found = []
    for n, y in enumerate(xs):
        for z in (f(x + a) for x in range(n) if x % 2 for a in (1, 2)):
            if z == 4:
                continue
            found.append(k(y, z))
        else:
            found.append(g(y))
    return found


def in_an_argument(xs: list[int]) -> Any:
    return k([f(x) for x in xs], last=[g(x) for x in xs])


def nested_in_a_list(xs: list[int]) -> Any:
    return [[f(x + y) for y in range(3)] for x in xs]


def with_zip_and_enumerate(xs: list[int]) -> Any:
    return [f(x + y + n) for n, (x, y) in enumerate(zip(xs, reversed(xs), strict=True))]


def over_a_dictionary(xs: list[int]) -> Any:
    table = {x: str(x) for x in xs}
    return [k(key, value) for key, value in table.items()]


def starred(xs: list[int]) -> Any:
    named = {"a": 1}
    return [k(*(x, x + 1), **named) for x in xs]


def within_an_inner_function(xs: list[int]) -> Any:
    def inner(x: int, add: int = 1) -> Any:
        y = f(x)
        return g(y) + add

    return [inner(x) for x in xs]


def within_a_lambda(xs: list[int]) -> Any:
    twice = lambda x: g(f(x))  # noqa: E731
    found = []
    for x in xs:
        found.append(twice(x))
    return found


def in_an_f_string(xs: list[int]) -> Any:
    return [f"{f(x)}:{x!r:>4}" for x in xs]


def matched(xs: list[int]) -> Any:
    found = []
    for x in xs:
        match x % 3:
            case 0 | 1:
                found.append(f(x))
            case other:
                found.append(g(x + other))
    return found


def with_a_walrus(xs: list[int]) -> Any:
    return [f(y) for x in xs if (y := x + 1) > 0]


def in_try(xs: list[int]) -> Any:
    found = []
    for x in xs:
        try:
            found.append(f(x))
        except ValueError:
            found.append(-1)
        else:
            found.append(0)
        finally:
            x = 0
    return found


def with_continue(xs: list[int]) -> Any:
    found = []
    for x in xs:
        y = f(x)
        if y % 2:
            continue
        found.append(g(y))
    return found


def unpacked(xs: list[int]) -> Any:
    found = []
    for x in xs:
        a, *b = k(x, x, x)
        found.append(k(a, b))
    return found


def with_pending_conditions(xs: list[int]) -> Any:
    return [g(x) for x in xs if f(x) % 2]


def with_boolean_operators(xs: list[int]) -> Any:
    return [f(x) > 2 and (g(x) < 9 or not h(x)) for x in xs]


def augmented(xs: list[int]) -> Any:
    total, text = 0, ""
    for x in xs:
        total += f(x)
        text += str(x)
    return total, text


@pytest.mark.parametrize(
    "function",
    [
        in_a_list,
        in_a_set,
        in_a_dictionary,
        in_the_keys,
        with_a_known_condition,
        in_two_clauses,
        in_a_generator_expression,
        in_tuple_of_a_generator_expression,
        over_a_generator_expression,
        over_a_generator_expression_with_conditions,
        in_an_argument,
        nested_in_a_list,
        with_zip_and_enumerate,
        over_a_dictionary,
        starred,
        within_an_inner_function,
        within_a_lambda,
        in_an_f_string,
        matched,
        with_a_walrus,
        in_try,
        with_continue,
        unpacked,
        with_pending_conditions,
        with_boolean_operators,
        augmented,
    ],
)
def test_it_fills_all_slots_at_once(function: Callable[[list[int]], Any]) -> None:
    calls = run(function, list(range(20)))
    # All slots are busy from the first wait on.
    assert calls.widths[0] == 8
    # Nothing was started twice, or in vain.
    assert not [label for what, label in calls.log if what == "cancel"]
    assert len(calls.ran()) == calls.started
