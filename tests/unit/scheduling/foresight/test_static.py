"""What is decided on the source alone: the function's own lists, variables that others see, sync-points."""

from __future__ import annotations

from typing import Any

import pytest

import achilles
from achilles.scheduling.code import ScheduledCode
from achilles.scheduling.foresight import sync_points
from achilles.scheduling.foresight.emitting import Definitions
from achilles.scheduling.foresight.leaking import leaks
from achilles.scheduling.foresight.statements import lower


@achilles.functional
def f(x: Any) -> Any:
    return x


def other(x: Any) -> Any:
    return x


def own(xs: Any, other_list: Any) -> Any:
    plain = []
    made = [x + 1 for x in xs]
    typed: list[int] = []
    first, second = [], 0
    added = [1]
    added = added + [2]  # noqa: RUF005
    added += [3]
    counted = list(xs)
    shown = sorted(xs)
    for x in counted:
        if x in plain and not made and len(shown) > 2:
            typed.append(f(plain))
    for _ in zip(first, shown, strict=False):
        second = sum(plain) + added[0]
    plain.append(f(*typed))
    f(x=made)
    return plain, [made], second


def escaping(xs: Any, given: Any) -> Any:
    global SHARED
    alias = []
    name = alias
    stored = []
    table = {"stored": stored}
    passed = []
    other(passed)
    closed = []
    call = lambda: closed  # noqa: E731
    grown = []
    for x in grown:
        grown.append(x)
    compared = []
    same = compared == xs
    yielded = []
    yield yielded
    elsewhere = xs
    given.append(1)
    SHARED = []
    method = []
    method.extend(xs)
    bound = []
    add = bound.append
    maybe = []
    maybe = xs
    deleted = []
    del deleted
    boxed = []
    for item in [boxed]:
        item.append(1)
    return name, table, call, same, elsewhere, add, maybe, SHARED


SHARED: Any = None


def program_of(function: Any) -> Any:
    code = ScheduledCode(function)
    return lower(Definitions(code), code.tree)


def test_lists_that_only_the_function_sees() -> None:
    assert program_of(own).own_lists == {"plain", "made", "typed", "first", "added", "counted", "shown"}


def test_lists_that_others_may_see() -> None:
    assert program_of(escaping).own_lists == set()


def leaking(xs: Any) -> Any:
    before = 1
    changed = 1
    looped = 0
    only_called = 0
    summed = 0
    unseen = 0
    see = lambda: (before, changed, looped, after, xs)  # noqa: E731
    changed = 2
    after = 3

    def inner() -> Any:
        return only_called

    for looped in xs:  # noqa: B007
        only_called = inner()
        unseen = sum(summed for _ in xs)
        summed = unseen
    return see


def test_variables_that_functions_anywhere_see() -> None:
    code = ScheduledCode(leaking)
    definitions = Definitions(code)
    top = definitions.scopes.top
    found = {name for name in top.bindings if leaks(definitions, top, name)}
    assert found == {"changed", "looped", "after"}


def test_a_function_that_is_passed_on_sees_its_variables_anywhere() -> None:
    def passing(xs: Any) -> Any:
        k = 0

        def inner() -> Any:
            return k

        k = 1
        return other(inner)

    definitions = Definitions(ScheduledCode(passing))
    assert leaks(definitions, definitions.scopes.top, "k")


def points(xs: Any, box: Any) -> Any:
    import math

    found = []
    for x in xs:
        y = f(x)
        found.append(y)
        other(y)
        box.x = y
        box.items[0] = y
        y += 1
        math.sqrt(y)
        len(xs)
        box.method(y)
        del box.x
        with box:
            pass
        xs.append(1)
    yield 1
    match xs:
        case [_, *rest]:
            found.append(rest)
        case {"k": _} | None:
            pass
    global SHARED
    SHARED = 1

    class Local:
        pass

    return (z for z in xs)


def test_sync_points_with_their_reasons() -> None:
    first = points.__code__.co_firstlineno
    found = [(each.line - first, each.reason, each.certain) for each in sync_points(ScheduledCode(points))]
    assert found == [
        (7, "a call of other(), which isn't marked functional", True),
        (8, "an assignment to an attribute changes an object", True),
        (9, "an assignment to an element changes an object", True),
        (10, "augmented assignment to y, unless its type is immutable", False),
        (11, "a call of math.sqrt(), unless that proves to be functional", False),
        (13, "a call of box.method(), unless that proves to be functional", False),
        (14, "del box.x changes an object, or what others see", True),
        (15, "a with statement calls its context manager", True),
        (17, "a call of xs.append(), unless that proves to be functional", False),
        (18, "yield gives control to the caller", True),
        (20, "the pattern [_, *rest] may run code of an object", True),
        (22, "the pattern {'k': _} | None may run code of an object", True),
        (25, "an assignment to SHARED, which others see", True),
        (27, "a class definition", True),
        (30, "a generator expression that isn't consumed at once", False),
    ]


def test_inner_functions_have_their_own() -> None:
    def outer(x: Any) -> Any:
        def inner(y: Any) -> Any:
            other(y)
            return f(y)

        return inner(x)

    (point,) = sync_points(ScheduledCode(outer))
    assert point.line == outer.__code__.co_firstlineno + 2


def nothing(x: Any) -> Any:
    y = f(x)
    return [f(z + 1) for z in range(y)]


def test_a_function_without_any() -> None:
    assert sync_points(ScheduledCode(nothing)) == []


@pytest.mark.parametrize("function", [own, escaping, leaking, points, nothing])
def test_all_jumps_lead_somewhere(function: Any) -> None:
    code = ScheduledCode(function)
    definitions = Definitions(code)
    lower(definitions, code.tree)
    for program in definitions.programs.values():
        size = len(program.instructions)
        for name, argument in program.instructions:
            if name == "jump":
                assert 0 <= argument < size
            elif name == "branch":
                assert 0 <= argument.start <= argument.target <= argument.join < size
            elif name in ("next_item", "leave_unless"):
                assert 0 <= getattr(argument, "exit", getattr(argument, "target", -1)) < size
        assert set(program.resumptions) <= set(code.sites)
