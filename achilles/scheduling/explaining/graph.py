"""The graph of a scheduled function: its functional calls, what they need of each other, and what orders
them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..code import ScheduledCode, enclosing_loops
from ..foresight import SyncPoint
from .calling import FUNCTIONAL, UNKNOWN, kinds_of
from .walking import DECISION, VALUE, Need, needs_of

__all__ = ["CallNode", "Graph", "LoopNode", "NeedEdge", "SyncNode", "graph_of"]

LONGEST_TEXT_CHARACTERS = 60


class CallNode(NamedTuple):
    """A call that may run on a worker.

    Attributes:
        number: From 1, in the order in which they end in the source: arguments come before what they are for.
        line: In the file.
        text: The call as it is written, but for calls in its arguments, and cut where it is long.
        certain: Whether its function is marked; else only the call will tell.
        loops: The numbers of the loops around it, outermost first.
    """

    number: int
    line: int
    text: str
    certain: bool
    loops: tuple[int, ...]


class NeedEdge(NamedTuple):
    """That a call waits for another.

    Attributes:
        of: The number of the call that is waited for.
        call: The number of the one that waits.
        kind: ``"value"``: for its result; ``"decision"``: for what is decided on its result.
        loop: The number of the loop from whose earlier round the result comes; None: it is of the same round.
    """

    of: int
    call: int
    kind: str
    loop: int | None


class SyncNode(NamedTuple):
    """An operation that waits for all before it, and that all behind it wait for.

    Attributes:
        line: In the file.
        text: The operation as it is written, cut where it is long.
        reason: Why it is one.
        certain: Whether it is one in any case; else the types of the values decide, at run time.
        loops: The numbers of the loops around it, outermost first.
        calls_before: How many of the calls stand before it.
    """

    line: int
    text: str
    reason: str
    certain: bool
    loops: tuple[int, ...]
    calls_before: int


class LoopNode(NamedTuple):
    """A loop with functional calls in it.

    Attributes:
        number: From 1, in source order.
        line: In the file.
        text: Its first line, or its clause of a comprehension.
        hindrances: Why a round waits for the one before; none: rounds overlap.
        doubts: What else may make it wait, which only the run will tell.
    """

    number: int
    line: int
    text: str
    hindrances: tuple[str, ...]
    doubts: tuple[str, ...] = ()


class Graph(NamedTuple):
    """A scheduled function as foresight sees it; all in source order."""

    name: str
    filename: str
    line: int
    calls: tuple[CallNode, ...]
    needs: tuple[NeedEdge, ...]
    sync_points: tuple[SyncNode, ...]
    loops: tuple[LoopNode, ...]


def graph_of(code: ScheduledCode, sync_points: Iterable[SyncPoint]) -> Graph:
    """The graph of a function.

    Args:
        code: The function.
        sync_points: What foresight doesn't pass in it.
    """
    kinds = kinds_of(code)
    shown = [number for number in code.sites if kinds[number] in (FUNCTIONAL, UNKNOWN)]
    shown.sort(key=lambda site: _place(code.sites[site]))
    numbers = {site: number for number, site in enumerate(shown, start=1)}
    loops = _Loops(code, [code.sites[site] for site in shown])
    calls = tuple(
        CallNode(
            number,
            code.sites[site].lineno,
            _call_text(code.sites[site]),
            kinds[site] == FUNCTIONAL,
            loops.around(code.sites[site]),
        )
        for site, number in numbers.items()
    )
    needs = tuple(
        NeedEdge(numbers[need.of], numbers[need.site], need.kind, loops.number(need.carried_by))
        for need in _without_implied(needs_of(code, kinds))
    )
    needs = tuple(sorted(needs, key=lambda need: (need.call, need.of, need.kind)))
    places = [_place(code.sites[site]) for site in shown]
    syncs = tuple(
        SyncNode(
            point.line,
            _text(point.node),
            point.reason,
            point.certain,
            loops.around(point.node),
            sum(place < _place(point.node) for place in places),
        )
        for point in sync_points
    )
    name, line = code.function.__qualname__, code.tree.lineno
    return Graph(name, code.filename, line, calls, needs, syncs, loops.nodes(needs, syncs))


class _Loops:
    """The loops that enclose some calls, in source order."""

    def __init__(self, code: ScheduledCode, calls: list[ast.Call]) -> None:
        self._parents = code.parents
        found = {loop for call in calls for loop in enclosing_loops(call, code.parents)}
        ordered = sorted(found, key=self._start)
        self._numbers: dict[ast.AST, int] = {loop: number for number, loop in enumerate(ordered, start=1)}

    def _start(self, loop: ast.AST) -> tuple[int, int, int]:
        """Where it begins, so that outer ones come first: a clause where its comprehension does."""
        at: Any = loop
        clause = 0
        if isinstance(loop, ast.comprehension):
            at = self._parents[loop]
            clause = at.generators.index(loop)
        return at.lineno, at.col_offset, clause

    def number(self, loop: ast.AST | None) -> int | None:
        return None if loop is None else self._numbers[loop]

    def around(self, node: ast.AST) -> tuple[int, ...]:
        loops = enclosing_loops(node, self._parents)
        return tuple(self._numbers[loop] for loop in loops if loop in self._numbers)

    def nodes(self, needs: tuple[NeedEdge, ...], syncs: tuple[SyncNode, ...]) -> tuple[LoopNode, ...]:
        return tuple(
            LoopNode(
                number, _line(loop), _header(loop), _hindrances(number, needs, syncs), _doubts(number, syncs)
            )
            for loop, number in self._numbers.items()
        )


def _hindrances(loop: int, needs: tuple[NeedEdge, ...], syncs: tuple[SyncNode, ...]) -> tuple[str, ...]:
    found = [f"line {sync.line} is a sync-point" for sync in syncs if sync.certain and loop in sync.loops]
    for need in needs:
        if need.loop == loop:
            what = "needs the result" if need.kind == VALUE else "waits for what is decided on the result"
            found.append(f"[{need.call}] {what} of [{need.of}] in the round before")
    return tuple(dict.fromkeys(found))


def _doubts(loop: int, syncs: tuple[SyncNode, ...]) -> tuple[str, ...]:
    lines = [f"line {sync.line}" for sync in syncs if not sync.certain and loop in sync.loops]
    return tuple(dict.fromkeys(lines))


def _without_implied(needs: list[Need]) -> list[Need]:
    """Without decisions that a call waits for anyway, through a call of its own round that it needs."""
    direct: dict[int, set[int]] = {}
    for need in needs:
        if need.carried_by is None and need.of != need.site:
            direct.setdefault(need.site, set()).add(need.of)
    values = {(need.of, need.site) for need in needs if need.kind == VALUE}
    decided = {(need.of, need.site): need for need in needs if need.kind == DECISION}

    def implied(need: Need) -> bool:
        if need.kind != DECISION:
            return False
        if (need.of, need.site) in values:
            return True
        for other in direct.get(need.site, ()):
            same = decided.get((need.of, other))
            if other != need.of and same is not None and same.carried_by is need.carried_by:
                return True
            if need.carried_by is None and need.of in _reached(direct, other):
                return True
        return False

    return [need for need in needs if not implied(need)]


def _reached(direct: dict[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        for each in direct.get(waiting.pop(), ()):
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


def _place(node: ast.AST) -> tuple[int, int]:
    """Where a node ends: what is in it is done before it is."""
    return getattr(node, "end_lineno", None) or 0, getattr(node, "end_col_offset", None) or 0


def _line(loop: ast.AST) -> int:
    at = loop.target if isinstance(loop, ast.comprehension) else loop
    line: int = at.lineno  # type: ignore[attr-defined]
    return line


def _header(loop: ast.AST) -> str:
    if isinstance(loop, ast.comprehension):
        return _cut(f"for {ast.unparse(loop.target)} in {ast.unparse(loop.iter)}")
    return _text(loop)


def _text(node: ast.AST) -> str:
    first, more, _ = ast.unparse(node).partition("\n")
    return _cut(first.rstrip(":") if more else first)


def _call_text(call: ast.Call) -> str:
    """A call without the functional calls in its arguments, which have lines of their own."""

    def shown(argument: ast.expr) -> ast.expr:
        nested = any(hasattr(node, "site") for node in ast.walk(argument))
        return ast.Name("…", ast.Load()) if nested else argument

    words = [ast.keyword(word.arg, shown(word.value)) for word in call.keywords]
    return _text(ast.Call(call.func, [shown(argument) for argument in call.args], words))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT_CHARACTERS else text[: LONGEST_TEXT_CHARACTERS - 1] + "…"
