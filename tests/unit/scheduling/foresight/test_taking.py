"""What was started early is taken only where it is what the program would have called."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
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


def test_an_operator_that_changes_an_argument_is_noticed() -> None:
    class Greedy:
        """Adding to it changes a list elsewhere, which nobody can tell from the source."""

        def __add__(self, other: list[int]) -> int:
            other.append(1)
            return len(other)

    greedy = Greedy()

    def known(items: list[int]) -> Any:
        a = f(0)
        b = greedy + items
        return a, b, f(items)

    assert run(known, []).started == 2

    @achilles.functional
    def made(x: int) -> Any:
        return x

    def pending(items: list[int]) -> Any:
        # What it is shows only when the call is done; until then it may have been a number.
        things = [greedy, greedy]
        a = f(0)
        b = things[a] + items
        return b, f(items)

    run(pending, [], tells_late=True)
    calls = run(pending, [])
    # The call with the list was started with what it held before, and again.
    assert [label for label in calls.ran() if label.startswith("f([")] == ["f([])", "f([1])"]


def test_what_stale_arguments_were_started_with_is_not_taken() -> None:
    def stale(n: int) -> Any:
        items = [n]
        cells = [items]
        a = f(1)
        b = f(items)
        cells[0].append(2)
        c = f(items)
        return a, b, c

    run(stale, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [(True, 1), (1, 1.0), (0.0, -0.0), (1, True), ("a", b"a"), ([], ()), (1 + 0j, 1.0), ({}, [])],
)
def test_equal_values_of_other_kinds_are_other_values(one: Any, other: Any) -> None:
    values = [one, other]

    def kinds(n: int) -> Any:
        a = g(values[0])
        return a, g(values[1]), g(values[n])

    found = run(kinds, 0)
    assert found.started == 3


def test_nan_is_itself() -> None:
    def not_numbers(n: int) -> Any:
        nan = float("nan")
        return [g(nan, i) for i in range(n)]

    calls = run(not_numbers, 4)
    assert calls.started == 4


def test_arrays_are_compared_by_their_bytes() -> None:
    def arrays(n: int) -> Any:
        base = np.arange(6.0)
        found = []
        for i in range(n):
            found.append(g(base * i).__len__())
        return len(found)

    assert run(arrays, 3).started == 3

    def overlapping(n: int) -> Any:
        base = np.arange(6.0)
        return [float(f(base * i)[1]) for i in range(n)]

    calls = run(overlapping, 6)
    assert calls.started == 6
    assert calls.most_under_way == 6


def test_an_array_that_is_written_into() -> None:
    def written(n: int) -> Any:
        base = np.zeros(3)
        found = []
        for i in range(n):
            base[0] = i
            found.append(f(base).tolist())
        return found

    assert run(written, 5).started == 5


def test_an_iterator_that_the_program_shares_is_left_alone() -> None:
    def shared(xs: list[int]) -> Any:
        it = iter(xs)
        found = []
        for x in it:
            found.append(f(x))
            found.append(g(*it) if x == 2 else f(-x))
        return found

    run(shared, [1, 2, 3, 4, 5])

    def given(xs: list[int]) -> Any:
        it = enumerate(xs)
        found = []
        for _, x in it:
            found.append(g(x, f(x)))
            found.append(next(it, None))
        return found

    run(given, [1, 2, 3, 4, 5])


def test_closures_travel_with_what_they_see_then() -> None:
    def closing(n: int) -> Any:
        found = []
        k = 0
        see = lambda: k  # noqa: E731
        table = {"see": see}
        for i in range(n):
            k = i
            found.append(called(table))
        return found

    run(closing, 5)


@achilles.functional
def called(table: dict[str, Any]) -> Any:
    return table["see"]()


def test_globals_that_the_function_assigns() -> None:
    def assigning(n: int) -> Any:
        global COUNT
        found = []
        for i in range(n):
            COUNT = i
            found.append(f(COUNT))
        return found

    assert run(assigning, 4).most_under_way == 1


COUNT = 0


def test_variables_of_inner_functions() -> None:
    def outer(n: int) -> Any:
        total = 0

        def add(x: int) -> Any:
            nonlocal total
            total = total + x
            return f(total)

        return [add(i) for i in range(n)], total

    calls = run(outer, 6)
    assert calls.started == 6
    assert calls.most_under_way == 6


def test_recursion_of_an_inner_function() -> None:
    def outer(n: int) -> Any:
        def fold(low: int, high: int) -> Any:
            if high - low == 1:
                return f(low)
            middle = (low + high) // 2
            return pair(fold(low, middle), fold(middle, high))

        return fold(0, n)

    calls = run(outer, 8)
    assert calls.most_under_way >= 8
    assert calls.started == 15


@achilles.functional
def pair(a: Any, b: Any) -> Any:
    return a + b


def test_two_activations_share_nothing() -> None:
    calls = StubCalls(4)

    def inner(n: int) -> Any:
        return [f(i) for i in range(n)]

    within = scheduled(inner, calls)

    def outer(n: int) -> Any:
        return [within(i) for i in range(n)]

    assert scheduled(outer, calls)(4) == [[], [0], [0, 1], [0, 1, 2]]
    assert not calls.running


class Holder:
    def __init__(self, xs: list[int]) -> None:
        self.it = iter(xs)
        self.seen: Any = None


@achilles.functional
def rest(holder: Holder) -> Any:
    return list(copy.copy(holder.it))


def test_an_iterator_within_an_argument() -> None:
    def shared(xs: list[int]) -> Any:
        holder = Holder(xs)
        found = []
        for x in holder.it:
            found.append((x, rest(holder)))
        return found

    run(shared, [1, 2, 3, 4, 5])

    def counted(xs: list[int]) -> Any:
        holder = Holder(xs)
        found = []
        for n, x in enumerate(holder.it):
            found.append((n, x, rest(holder)))
        return found

    run(counted, [1, 2, 3, 4, 5])


def test_a_closure_within_an_argument() -> None:
    def shared(xs: list[int]) -> Any:
        k = 0
        holder = Holder([])
        holder.it = None
        holder.seen = lambda: k
        found = []
        for x in xs:
            k = x
            found.append(seen(holder))
        return found

    run(shared, [1, 2, 3])

    def made_before(xs: list[int]) -> Any:
        holder = Holder([])
        holder.it = None
        holder.seen = lambda: k
        a = f(1)
        k = 5
        return a, seen(holder)

    run(made_before, [1])


@achilles.functional
def seen(holder: Holder) -> Any:
    return holder.seen()


def test_a_zip_that_is_used_up_in_two_places() -> None:
    def shared(xs: list[int]) -> Any:
        pairs = zip(xs, xs, strict=True)
        found = []
        if f(xs[0]) < 3:
            for a, _ in pairs:
                found.append(f(a))
                break
        for a, b in pairs:
            found.append(g(a, b))
        return found

    run(shared, [1, 2, 3])


def test_an_inner_function_that_others_call_back() -> None:
    def outer(xs: list[int]) -> Any:
        def inner(x: int) -> Any:
            return f(x), f(x + 100)

        return list(map(inner, xs)), [inner(x) for x in xs]

    calls = run(outer, [1, 2, 3])
    assert calls.started == 12


def test_nothing_is_kept_alive_that_the_program_dropped() -> None:
    class Noted:
        def __del__(self) -> None:
            notes.append("gone")

    notes: list[str] = []

    def dropping(n: int) -> Any:
        noted = Noted()
        a = f(n)
        notes.append("before")
        del noted
        notes.append("after")
        return a, f(2)

    assert scheduled(dropping, StubCalls(2))(1) == (1, 2)
    assert notes == ["before", "gone", "after"]


class Greedy:
    def __add__(self, other: list[int]) -> int:
        other.append(1)
        return len(other)


def test_all_branches_are_looked_at_before_a_call_is_taken() -> None:
    greedy = Greedy()

    def branching(items: list[int]) -> Any:
        things = [0, greedy]
        y = f(1)
        a = b = 0
        if y:
            for i in range(200):
                a = a + i
        if y:
            for i in range(200):
                a = a + i
        if y:
            b = things[y] + items
        return a, b, g(items)

    calls = run(branching, [])
    assert "g([])" in calls.ran()  # started on trust, and not taken

    def long(items: list[int]) -> Any:
        things = [0, greedy]
        y = f(1)
        a = b = 0
        if y:
            for i in range(20_000):
                a = a + i
            b = things[y] + items
        return a, b, g(items)

    run(long, [])


def test_a_list_that_is_seen_through_locals() -> None:
    def looking(n: int) -> Any:
        items = [n]
        seen = locals()
        a = f(1)
        items.append(a)
        b = f(seen["items"])
        items.append(b)
        return a, b, f(seen["items"])

    run(looking, 1)
