"""What needs what: exact expectations on small functions."""

from __future__ import annotations

import ast
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from achilles.scheduling.code import ScheduledCode
from achilles.scheduling.explaining.graph import Graph, graph_of
from tests.unit.scheduling.explaining import subjects


def graph(function: Callable[..., Any]) -> Graph:
    """The graph, with the calls of ``log`` as its only sync-points."""
    code = ScheduledCode(function)
    points = [
        SimpleNamespace(node=node, line=node.lineno, reason="log is not functional", certain=True)
        for node in ast.walk(code.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "log"
    ]
    return graph_of(code, sorted(points, key=lambda point: point.line))


def needs(found: Graph) -> list[str]:
    """Such as ``1 > 2``: 2 needs the result of 1; with ``?`` the decision, with ``@`` of the round before."""
    return [
        f"{need.of} {'>' if need.kind == 'value' else '?'} {need.call}"
        + (f" @{need.loop}" if need.loop is not None else "")
        for need in found.needs
    ]


def calls(found: Graph) -> list[str]:
    return [call.text for call in found.calls]


@pytest.mark.parametrize(
    ("function", "called", "needed"),
    [
        (subjects.diamond, ["f(x)", "g(a)", "h(a)", "k(b, c)"], ["1 > 2", "1 > 3", "2 > 4", "3 > 4"]),
        (subjects.branching_loop, ["f(x)", "g(y)"], ["1 > 2"]),
        (subjects.decided, ["f(x)", "g(x)", "h(xs)"], ["1 ? 2"]),
        (subjects.left_early, ["g(x)", "f(x)", "h(xs)"], ["2 ? 1 @1", "2 ? 2 @1", "2 ? 3"]),
        (subjects.skipping, ["g(x)", "f(x)", "k(x)", "h(xs)"], ["2 ? 3"]),
        (subjects.synced, ["f(xs)", "g(x)", "h(b)", "k(a)"], ["2 > 3", "1 > 4"]),
        (subjects.iterated, ["f(x)", "g(x)"], ["1 > 1 @1", "1 > 2"]),
        (subjects.nested, ["f(cell)", "g(…, len(rows))"], ["1 > 2"]),
        (subjects.unpacked, ["f(x)", "g(x)", "h(d)", "h(e, *c)"], ["1 > 3", "2 > 4"]),
        (subjects.contained, ["f(x)", "g(x)", "h(len(results))", "k(results)"], ["1 > 4", "2 > 4"]),
        (subjects.swapped, ["f(x)", "g(x)", "h(a)"], ["1 > 3 @1", "2 > 3"]),
        (
            subjects.tried,
            ["f(x)", "g(x)", "h(error)", "k(y)"],
            ["1 > 4", "2 > 4", "3 > 4"],
        ),
        (
            subjects.matched,
            ["f(x)", "g(first)", "h(first)", "k(rest, others)"],
            ["1 > 2", "1 > 3", "2 ? 3", "1 > 4", "2 ? 4"],
        ),
        (
            subjects.inner,
            ["f(xs)", "h(0)", "g(x, total)", "k(x)", "f(y)"],
            ["1 > 3", "4 > 3", "3 > 5"],
        ),
        (subjects.recursive, ["f(m)", "g(…)", "h(…)"], ["1 ? 1", "1 ? 2", "2 > 2", "2 > 3"]),
        (subjects.shadowed, ["f(xs)", "g(x)", "h(x)", "k(x)"], ["1 > 4"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_needs_what(function: Callable[..., Any], called: list[str], needed: list[str]) -> None:
    found = graph(function)
    assert calls(found) == called
    assert needs(found) == needed
    assert all(call.certain for call in found.calls)


def test_what_only_the_call_will_tell() -> None:
    found = graph(subjects.unsure)
    assert [(call.text, call.certain) for call in found.calls] == [
        ("worker.process(xs)", False),
        ("function(a)", False),
        ("undefined_yet(a)", False),
    ]


def test_lines_are_the_files() -> None:
    found = graph(subjects.diamond)
    first = subjects.diamond.__code__.co_firstlineno
    assert (found.name, found.filename, found.line) == ("diamond", subjects.__file__, first)
    assert [call.line for call in found.calls] == [first + 1, first + 2, first + 3, first + 4]


def test_loops_say_why_their_rounds_do_not_overlap() -> None:
    (loop,) = graph(subjects.branching_loop).loops
    assert (loop.number, loop.text, loop.hindrances) == (1, "for x in xs", ())
    found = graph(subjects.synced)
    (loop,) = found.loops
    first = found.line
    assert loop.hindrances == (f"line {first + 5} is a sync-point",)
    (loop,) = graph(subjects.iterated).loops
    assert loop.hindrances == ("[1] needs the result of [1] in the round before",)
    (loop,) = graph(subjects.left_early).loops
    assert loop.hindrances == (
        "[1] waits for what is decided on the result of [2] in the round before",
        "[2] waits for what is decided on the result of [2] in the round before",
    )


def test_loops_around_comprehensions() -> None:
    found = graph(subjects.nested)
    texts = [(loop.number, loop.text) for loop in found.loops]
    assert texts == [
        (1, "for row in rows"),
        (2, "for cell in row"),
    ]
    assert [call.loops for call in found.calls] == [(1, 2), (1,)]


def test_sync_points_stand_between_the_calls() -> None:
    found = graph(subjects.synced)
    assert [(sync.text, sync.calls_before, sync.loops) for sync in found.sync_points] == [
        ("log(a)", 1, ()),
        ("log(b)", 2, (1,)),
    ]


def test_a_function_without_functional_calls() -> None:
    found = graph(subjects.log)
    assert (found.calls, found.needs, found.loops) == ((), (), ())
