"""What a drawing of a graph shows: boxes and arrows, the same for DOT and for SVG.

Sync-points that depend on types are left out: a drawing shows what is so in any case.
"""

from __future__ import annotations

from typing import NamedTuple

from .graph import Graph

__all__ = ["CARRIED", "DECISION", "ORDER", "VALUE", "Arrow", "Box", "Drawing", "drawing_of"]

VALUE, DECISION, ORDER, CARRIED = "value", "decision", "order", "carried"


class Box(NamedTuple):
    """A call, or a sync-point.

    Attributes:
        name: Unique in the drawing.
        label: Its text.
        line: In the file.
        note: What a reader is told who points at it.
        is_call: Whether it is a functional call.
        certain: Whether that is known before it is called.
    """

    name: str
    label: str
    line: int
    note: str
    is_call: bool
    certain: bool


class Arrow(NamedTuple):
    """From what comes first to what waits for it.

    Attributes:
        tail: The name of the former's box.
        head: The name of the latter's.
        kind: `VALUE` for a result, `DECISION` for a condition, `ORDER` for a sync-point; `CARRIED` for any
            of a loop's round before.
    """

    tail: str
    head: str
    kind: str


class Drawing(NamedTuple):
    """Boxes in source order, and the arrows between them."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def drawing_of(graph: Graph) -> Drawing:
    """What to draw of a graph."""
    calls = {
        call.number: Box(
            f"call{call.number}",
            f"{call.number}  {call.text}",
            call.line,
            f"line {call.line}"
            if call.certain
            else f"line {call.line}; only the call tells if it is functional",
            True,
            call.certain,
        )
        for call in graph.calls
    }
    syncs = [sync for sync in graph.sync_points if sync.certain]
    boxes: list[Box] = list(calls.values())
    arrows = [
        Arrow(f"call{need.of}", f"call{need.call}", need.kind if need.loop is None else CARRIED)
        for need in graph.needs
    ]
    # All calls before a sync-point lead to it, those behind it from it, up to the next one.
    done = 0
    last: str | None = None
    for number, sync in enumerate(syncs, start=1):
        name = f"sync{number}"
        between = [calls[call] for call in sorted(calls) if done < call <= sync.calls_before]
        if last is not None:
            arrows += [Arrow(last, box.name, ORDER) for box in between] or [Arrow(last, name, ORDER)]
        arrows += [Arrow(box.name, name, ORDER) for box in between]
        box = Box(name, sync.text, sync.line, f"line {sync.line}: {sync.reason}", False, True)
        boxes.insert(sync.calls_before + number - 1, box)
        done, last = max(done, sync.calls_before), name
    if last is not None:
        arrows += [Arrow(last, calls[call].name, ORDER) for call in sorted(calls) if call > done]
    return Drawing(f"{graph.name}, line {graph.line}", tuple(boxes), tuple(dict.fromkeys(arrows)))
