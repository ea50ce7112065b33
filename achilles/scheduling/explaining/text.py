"""A graph in words."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .graph import Graph, LoopNode, NeedEdge, SyncNode

__all__ = ["text_of"]


def text_of(graph: Graph) -> str:
    """The graph as lines for a terminal, without a line's end at the end. ::

    reduce, line 3 of pipeline.py

    Functional calls
      [1] line 6: load(name), in loop 1
      [2] line 7: clean(raw), in loop 1; needs the result of [1]

    Loops
      loop 1, line 5, for name in names: rounds overlap

    Sync-points
      line 8: print(name): calls print, which is not functional
    """
    lines = [f"{graph.name}, line {graph.line} of {os.path.basename(graph.filename)}"]
    sections = [
        ("Functional calls", list(_calls(graph))),
        ("Loops", [_loop(loop) for loop in graph.loops]),
        ("Sync-points", [_sync_point(sync) for sync in graph.sync_points]),
    ]
    for title, entries in sections:
        lines += ["", title, *(f"  {entry}" for entry in entries or ["none"])]
    return "\n".join(lines)


def _calls(graph: Graph) -> Iterator[str]:
    for call in graph.calls:
        line = f"[{call.number}] line {call.line}: {call.text}{_in_loops(call.loops)}"
        needs = _needs([need for need in graph.needs if need.call == call.number and need.loop is None])
        if not call.certain:
            needs.append("if it is functional, which only the call will tell")
        yield "; ".join([line, *needs])


def _in_loops(loops: tuple[int, ...]) -> str:
    return f", in loop {loops[-1]}" if loops else ""


def _needs(needs: list[NeedEdge]) -> list[str]:
    found = []
    for kind, what in (("value", "needs the result of"), ("decision", "waits for what is decided on")):
        of = [f"[{need.of}]" for need in needs if need.kind == kind]
        if of:
            found.append(f"{what} {_listed(of)}")
    return found


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _loop(loop: LoopNode) -> str:
    start = f"loop {loop.number}, line {loop.line}, {loop.text}: "
    if not loop.hindrances:
        doubts = f", unless {_listed(list(loop.doubts))} proves to be a sync-point" if loop.doubts else ""
        return f"{start}rounds overlap{doubts}"
    return start + "rounds run one after the other, as " + "; ".join(loop.hindrances)


def _sync_point(sync: SyncNode) -> str:
    return f"line {sync.line}: {sync.text}{_in_loops(sync.loops)}: {sync.reason}"
