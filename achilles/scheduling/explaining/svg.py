"""A drawing as SVG, with nothing but this package."""

from __future__ import annotations

import itertools
from html import escape

from .drawing import CARRIED, DECISION, ORDER, VALUE, Arrow, Box, Drawing
from .layout import Layout, Point, layout_of

__all__ = ["svg_of"]

CHARACTER_WIDTH = 7.3  # of a monospaced font of 12 px, in px, rounded up
BOX_HEIGHT = 40.0
PADDING = 10.0
MARGIN = 20.0
TITLE_HEIGHT = 30.0
LOOP_WIDTH = 40.0  # at the right of a box, for arrows of the round before

_STYLE = """\
  <style>
    text { font: 12px monospace; fill: #222; }
    .small { font-size: 10px; fill: #666; }
    rect, polygon { fill: #eef4fb; stroke: #2b5d8c; }
    polygon { fill: #f2f2f2; stroke: #888; }
    .unsure { stroke-dasharray: 4 3; }
    path { fill: none; stroke: #2b5d8c; marker-end: url(#tip); }
    .decision { stroke-dasharray: 6 4; }
    .order { stroke: #aaa; }
    .carried { stroke: #b3592b; stroke-dasharray: 2 3; }
  </style>
  <marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">
    <polygon points="0,0 8,4 0,8" style="fill: #666; stroke: none"/>
  </marker>"""
_MEANINGS = {
    VALUE: "its result is needed",
    DECISION: "what is decided on its result is waited for",
    ORDER: "a sync-point keeps this order",
    CARRIED: "that of the loop's round before is waited for",
}


def svg_of(drawing: Drawing) -> str:
    """The drawing as the text of an SVG file. Ends with a line's end."""
    widths = {box.name: _width(box) for box in drawing.boxes}
    layout = layout_of(widths, drawing.arrows, BOX_HEIGHT, gap=30.0, layer_gap=45.0)
    width = max(layout.width + LOOP_WIDTH, CHARACTER_WIDTH * len(drawing.title)) + 2 * MARGIN
    height = layout.height + TITLE_HEIGHT + 2 * MARGIN
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}">'
        ),
        f"  <title>{escape(drawing.title)}</title>",
        _STYLE,
        f'  <text x="{MARGIN:.0f}" y="{MARGIN:.0f}">{escape(drawing.title)}</text>',
        f'  <g transform="translate({MARGIN:.0f},{MARGIN + TITLE_HEIGHT:.0f})">',
    ]
    lines += [f"    {_arrow(arrow, layout, widths)}" for arrow in drawing.arrows]
    for box in drawing.boxes:
        lines += [f"    {line}" for line in _box(box, layout.centres[box.name], widths[box.name])]
    return "\n".join([*lines, "  </g>", "</svg>", ""])


def _width(box: Box) -> float:
    longest = max(len(box.label), len(f"line {box.line}"))
    return longest * CHARACTER_WIDTH + 2 * PADDING


def _box(box: Box, centre: Point, width: float) -> list[str]:
    left, top = centre.x - width / 2, centre.y - BOX_HEIGHT / 2
    right, bottom = left + width, top + BOX_HEIGHT
    unsure = "" if box.certain else ' class="unsure"'
    if box.is_call:
        place = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX_HEIGHT:.1f}"'
        shape = f'<rect {place} rx="5"{unsure}/>'
    else:
        cut = 8.0
        corners = [
            (left + cut, top),
            (right - cut, top),
            (right, top + cut),
            (right, bottom - cut),
            (right - cut, bottom),
            (left + cut, bottom),
            (left, bottom - cut),
            (left, top + cut),
        ]
        shape = f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}"{unsure}/>'
    at = f'x="{centre.x:.1f}" text-anchor="middle"'
    return [
        "<g>",
        f"  <title>{escape(box.note)}</title>",
        f"  {shape}",
        f'  <text {at} y="{centre.y - 2:.1f}">{escape(box.label)}</text>',
        f'  <text {at} y="{centre.y + 13:.1f}" class="small">line {box.line}</text>',
        "</g>",
    ]


def _arrow(arrow: Arrow, layout: Layout, widths: dict[str, float]) -> str:
    tail, head = layout.centres[arrow.tail], layout.centres[arrow.head]
    if arrow not in layout.bends:
        path = _round_the_side(arrow, layout, widths)
    else:
        start, end = Point(tail.x, tail.y + BOX_HEIGHT / 2), Point(head.x, head.y - BOX_HEIGHT / 2)
        points = [start, *layout.bends[arrow], end]
        path = f"M{_pair(start)}"
        for before, after in itertools.pairwise(points):
            middle = (before.y + after.y) / 2
            path += f" C{_pair(Point(before.x, middle))} {_pair(Point(after.x, middle))} {_pair(after)}"
    return f'<path class="{arrow.kind}" d="{path}"><title>{_MEANINGS[arrow.kind]}</title></path>'


def _round_the_side(arrow: Arrow, layout: Layout, widths: dict[str, float]) -> str:
    """From a box's right side to another's, or to its own, around what stands between."""
    tail, head = layout.centres[arrow.tail], layout.centres[arrow.head]
    start = Point(tail.x + widths[arrow.tail] / 2, tail.y + 6)
    end = Point(head.x + widths[arrow.head] / 2, head.y - 6)
    high, low = min(tail.y, head.y), max(tail.y, head.y)
    sides = [at.x + widths[name] / 2 for name, at in layout.centres.items() if high <= at.y <= low]
    out = max(sides) + LOOP_WIDTH
    return f"M{_pair(start)} C{_pair(Point(out, start.y))} {_pair(Point(out, end.y))} {_pair(end)}"


def _pair(point: Point) -> str:
    return f"{point.x:.1f},{point.y:.1f}"
