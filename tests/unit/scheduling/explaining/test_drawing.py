"""Drawings: boxes and arrows, DOT, SVG, and where the boxes stand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

from hypothesis import given, strategies

from achilles.scheduling.explaining.dot import dot_of
from achilles.scheduling.explaining.drawing import CARRIED, ORDER, VALUE, Arrow, Drawing, drawing_of
from achilles.scheduling.explaining.graph import CallNode, Graph, LoopNode, NeedEdge, SyncNode
from achilles.scheduling.explaining.layout import layout_of
from achilles.scheduling.explaining.svg import svg_of
from achilles.scheduling.explaining.text import text_of

GRAPH = Graph(
    name="reduce",
    filename="/somewhere/pipeline.py",
    line=3,
    calls=(
        CallNode(1, 5, 'load("a<b")', True, (1,)),
        CallNode(2, 6, "clean(raw)", True, (1,)),
        CallNode(3, 9, "method(x)", False, ()),
    ),
    needs=(
        NeedEdge(1, 2, "value", None),
        NeedEdge(2, 2, "decision", 1),
        NeedEdge(1, 3, "value", None),
        NeedEdge(2, 3, "decision", None),
    ),
    sync_points=(
        SyncNode(8, "print(x)", "print is not functional", True, (), 2),
        SyncNode(9, "x += y", "if it is a list", False, (), 2),
        SyncNode(10, "print(y)", "print is not functional", True, (), 3),
    ),
    loops=(LoopNode(1, 4, "for name in names", ("[2] waits for something",)),),
)
EMPTY = GRAPH._replace(calls=(), needs=(), sync_points=(), loops=())


def test_in_words() -> None:
    assert text_of(GRAPH).splitlines() == [
        "reduce, line 3 of pipeline.py",
        "",
        "Functional calls",
        '  [1] line 5: load("a<b"), in loop 1',
        "  [2] line 6: clean(raw), in loop 1; needs the result of [1]",
        (
            "  [3] line 9: method(x); needs the result of [1]; waits for what is decided on [2]; "
            "if it is functional, which only the call will tell"
        ),
        "",
        "Loops",
        "  loop 1, line 4, for name in names: rounds run one after the other, as [2] waits for something",
        "",
        "Sync-points",
        "  line 8: print(x): print is not functional",
        "  line 9: x += y: if it is a list",
        "  line 10: print(y): print is not functional",
    ]
    assert text_of(EMPTY).splitlines()[2:] == [
        *("Functional calls", "  none", ""),
        *("Loops", "  none", ""),
        *("Sync-points", "  none"),
    ]


def test_sync_points_order_what_is_drawn() -> None:
    drawing = drawing_of(GRAPH)
    assert [box.name for box in drawing.boxes] == ["call1", "call2", "sync1", "call3", "sync2"]
    assert [arrow for arrow in drawing.arrows if arrow.kind == ORDER] == [
        Arrow("call1", "sync1", ORDER),
        Arrow("call2", "sync1", ORDER),
        Arrow("sync1", "call3", ORDER),
        Arrow("call3", "sync2", ORDER),
    ]
    behind_each_other = GRAPH._replace(calls=(), needs=())
    syncs = [sync._replace(calls_before=0) for sync in GRAPH.sync_points]
    drawing = drawing_of(behind_each_other._replace(sync_points=tuple(syncs)))
    assert drawing.arrows == (Arrow("sync1", "sync2", ORDER),)


def test_dot() -> None:
    assert dot_of(drawing_of(GRAPH)).splitlines() == [
        'digraph "reduce, line 3" {',
        "  node [shape=box, fontname=monospace];",
        '  call1 [label="1  load(\\"a<b\\")\\nline 5", tooltip="line 5"];',
        '  call2 [label="2  clean(raw)\\nline 6", tooltip="line 6"];',
        (
            '  sync1 [label="print(x)\\nline 8", tooltip="line 8: print is not functional", '
            "shape=octagon, color=gray];"
        ),
        (
            '  call3 [label="3  method(x)\\nline 9", '
            'tooltip="line 9; only the call tells if it is functional", style=dashed];'
        ),
        (
            '  sync2 [label="print(y)\\nline 10", tooltip="line 10: print is not functional", '
            "shape=octagon, color=gray];"
        ),
        "  call1 -> call2;",
        "  call2 -> call2 [style=dotted, constraint=false];",
        "  call1 -> call3;",
        "  call2 -> call3 [style=dashed];",
        "  call1 -> sync1 [color=gray];",
        "  call2 -> sync1 [color=gray];",
        "  sync1 -> call3 [color=gray];",
        "  call3 -> sync2 [color=gray];",
        "}",
    ]


def test_svg_shows_every_box_and_arrow() -> None:
    drawing = drawing_of(GRAPH)
    root = ET.fromstring(svg_of(drawing))
    name = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{name}text")]
    for box in drawing.boxes:
        assert box.label in texts and f"line {box.line}" in texts
    assert len(list(root.iter(f"{name}path"))) == len(drawing.arrows)
    assert len(list(root.iter(f"{name}rect"))) == 3
    assert ET.fromstring(svg_of(drawing_of(EMPTY))) is not None


NAMES = [f"box{number}" for number in range(8)]


@given(strategies.lists(strategies.tuples(*[strategies.sampled_from(NAMES)] * 2), max_size=20, unique=True))
def test_boxes_stand_apart_and_below_what_they_wait_for(pairs: list[tuple[str, str]]) -> None:
    forward = [Arrow(tail, head, VALUE) for tail, head in pairs if tail < head]
    back = [Arrow(tail, head, CARRIED) for tail, head in pairs if tail >= head]
    widths = {name: 40.0 + 25 * number for number, name in enumerate(NAMES)}
    layout = layout_of(widths, [*forward, *back], 30.0, 10.0, 20.0)
    for arrow in forward:
        points = [layout.centres[arrow.tail], *layout.bends[arrow], layout.centres[arrow.head]]
        assert all(lower.y - upper.y == 50.0 for upper, lower in pairwise(points))
    for one, other in combinations(NAMES, 2):
        first, second = layout.centres[one], layout.centres[other]
        if first.y == second.y:
            assert abs(first.x - second.x) >= (widths[one] + widths[other]) / 2 + 10 - 1e-6
    for name, centre in layout.centres.items():
        assert widths[name] / 2 - 1e-6 <= centre.x <= layout.width - widths[name] / 2 + 1e-6
        assert 15 <= centre.y <= layout.height - 15


def test_calls_that_wait_for_each_other_are_laid_out_too() -> None:
    arrows = [Arrow("box0", "box1", VALUE), Arrow("box1", "box0", VALUE), Arrow("box1", "box1", VALUE)]
    drawing = Drawing("", drawing_of(GRAPH).boxes[:2], ())
    boxes = tuple(box._replace(name=f"box{number}") for number, box in enumerate(drawing.boxes))
    root = ET.fromstring(svg_of(Drawing("around", boxes, tuple(arrows))))
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 3
