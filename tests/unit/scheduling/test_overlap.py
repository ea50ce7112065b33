"""What runs at the same time: read from the log of a stub, never from a clock.

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


def log(value: Any) -> None:
    """Whatever it does, nobody said that it may run early."""


def test_the_quick_start_keeps_eight_slots_busy() -> None:
    def pipeline(inputs: list[int]) -> list[int]:
        outputs: list[int] = []
        for each in inputs:
            output = f(each)
            outputs = outputs + [output]  # noqa: RUF005 - the document's own words
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


def test_a_branching_loop_overlaps_its_iterations() -> None:
    def branching(xs: list[int]) -> list[int]:
        found = []
        for x in xs:
            y = f(x)
            if y > 3:
                z = g(y)
                found.append(z)
        return found

    calls = run(branching, list(range(8)))
    assert calls.before(("run", "f(7)"), ("done", "f(0)"))  # before the first condition is known
    assert calls.overlapped("g(4)", "g(5)")
    assert calls.before(("done", "f(3)"), ("run", "g(4)"))
    assert "g(3)" not in calls.ran()
    assert calls.started == 8 + 5


def test_a_branch_starts_as_soon_as_its_condition_is_known() -> None:
    def late(xs: list[int]) -> Any:
        first, total = 0, []
        for x in xs:
            y = f(x)
            if y % 2:
                total.append(g(y))
            else:
                total.append(h(y))
        return first, total

    # The newest call is completed first, so conditions are decided from the end.
    calls = run(late, list(range(6)), newest_first=True)
    assert calls.before(("run", "h(6)"), ("done", "f(0)"))
    assert calls.before(("run", "g(5)"), ("done", "f(0)"))


def test_a_condition_on_what_a_branch_binds_waits_for_that() -> None:
    def chained(x: int) -> Any:
        y = f(x)
        z = g(y) if y > 1 else h(y)
        w = f(10)
        if z > 2:
            w = k(w, z)
        return w

    calls = run(chained, 1)
    assert calls.overlapped("f(1)", "f(10)")
    assert calls.before(("run", "f(10)"), ("run", "g(2)"))


def test_while_loops_overlap_as_far_as_their_conditions_are_known() -> None:
    def counted(n: int) -> Any:
        i, found = 0, []
        while i < n:
            found.append(f(i))
            i += 1
        return found

    assert run(counted, 10).overlapped("f(0)", "f(7)")

    def decided(x: int) -> Any:
        found = []
        while x < 5:
            found.append(g(x))
            x = f(x)
        return found

    calls = run(decided, 0)
    assert calls.overlapped("f(2)", "g(2)")
    assert not calls.overlapped("f(2)", "f(3)")
    assert calls.started == 10


def test_nested_loops_overlap() -> None:
    def nested(n: int) -> Any:
        found = []
        for i in range(n):
            for j in range(i):
                found.append(k(i, j))
        return found

    assert run(nested, 4).overlapped("k(1, 0)", "k(3, 2)")

    def rows(n: int) -> Any:
        found = []
        for i in range(n):
            row = 0
            for j in range(3):
                row = row + g(f(i * 10 + j))
            found.append(row)
        return found

    calls = run(rows, 3)
    assert calls.overlapped("f(0)", "f(21)")
    assert calls.widths[0] == 8


def test_results_of_one_comprehension_are_arguments_of_another() -> None:
    def stages(xs: list[int]) -> Any:
        first = [f(x) for x in xs]
        second = [g(y) for y in first]
        return [h(z) for z in second]

    calls = run(stages, list(range(8)))
    assert calls.overlapped("f(7)", "g(1)")
    assert calls.overlapped("h(2)", "g(8)")


def test_a_tree_of_sums_overlaps() -> None:
    def tree(xs: list[int]) -> Any:
        while len(xs) > 1:
            xs = [k_sum(a, b) for a, b in zip(xs[::2], xs[1::2], strict=True)]
        return xs[0]

    calls = run(tree, [1, 2, 3, 4, 5, 6, 7, 8])
    assert calls.overlapped("k_sum(1, 2)", "k_sum(7, 8)")
    assert calls.before(("run", "k_sum(3, 7)"), ("done", "k_sum(7, 8)"))


@achilles.functional
def k_sum(a: int, b: int) -> int:
    return a + b


def test_a_sync_point_orders_the_calls_around_it() -> None:
    def ordered(x: int) -> Any:
        a = f(x)
        log(a)
        b = g(x)
        return a + b

    assert not run(ordered, 1).overlapped("f(1)", "g(1)")


class Box:
    def __init__(self) -> None:
        self.x: Any = 0
        self.y = 3


def attribute(box: Box) -> Any:
    a = f(1)
    box.x = a
    return a + g(box.y)


def element(box: Box) -> Any:
    a = f(1)
    d = {"x": 0, "y": 3}
    d["x"] = a
    return a + g(d["y"])


def growing(box: Box) -> Any:
    a = f(1)
    items = [3]
    both = (items, items)
    items.append(4)
    return a + g(both[0][0])


def method(box: Box) -> Any:
    a = f(1)
    items = {3}
    items.add(4)
    return a + g(3)


def context(box: Box) -> Any:
    import contextlib

    a = f(1)
    with contextlib.nullcontext(3) as n:
        b = g(n)
    return a + b


def in_place(box: Box) -> Any:
    a = f(1)
    items = [2]
    alias = items
    alias += [3]
    return a + g(items[1])


@pytest.mark.parametrize("function", [attribute, element, growing, method, context, in_place])
def test_these_are_sync_points(function: Callable[[Box], Any]) -> None:
    calls = run(function, Box())
    assert not calls.overlapped("f(1)", "g(3)")


def test_a_generator_keeps_to_its_yields() -> None:
    def stages(n: int) -> Any:
        def steps() -> Any:
            for i in range(n):
                a = f(i)
                b = g(i)
                yield a + b

        return list(steps())

    calls = run(stages, 3)
    assert calls.overlapped("f(1)", "g(1)")
    assert not calls.overlapped("g(0)", "f(1)")


def test_a_branch_that_may_be_a_sync_point_is_waited_for() -> None:
    def careful(x: int) -> Any:
        y = f(x)
        if y > 5:
            log(y)
        return y + g(x)

    assert not run(careful, 1).overlapped("f(1)", "g(1)")


def test_pure_functions_of_the_programs_own_are_walked_through() -> None:
    def helped(xs: list[int]) -> Any:
        found = []
        for x in xs:
            found.append(f(scaled(x)))
        return found

    assert run(helped, [1, 2, 3], pure=[scaled]).overlapped("f(10)", "f(30)")
    assert not run(helped, [1, 2, 3]).overlapped("f(10)", "f(20)")


def scaled(x: int) -> int:
    return x * 10
