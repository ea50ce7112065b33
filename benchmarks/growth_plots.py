"""How cost grows, as SVG, written by hand: a line for each peer, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.peers import OURS
from benchmarks.tables import number

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 110, 54, 44
OUR_COLOURS = ("#b5482a", "#d98c5f", "#7a2f1a")
THEIR_COLOURS = ("#4d6b85", "#7d93a6", "#9fb3a6")

Line = tuple[str, list[tuple[float, float]]]


def growth_picture(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """One picture.

    Args:
        title: Above it.
        across: What grows.
        up: What is measured.
        lines: Points of each peer, all above zero.
    """
    points = [point for _, line in lines for point in line]
    low_x, high_x = _ends([x for x, _ in points])
    low_y, high_y = _ends([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        right = (math.log(x) - low_x) / (high_x - low_x)
        above = (math.log(y) - low_y) / (high_y - low_y)
        return LEFT + right * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - above * (HEIGHT - TOP - BOTTOM)

    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-size="12"'
    drawn = [
        head + ' font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="10" y="40" fill="#444">{escape(up)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end" fill="#444">{escape(across)}</text>',
    ]
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, math.exp(low_y))
        drawn += [
            f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>',
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{number(x)}</text>',
        ]
    for power in range(math.floor(low_y / math.log(10)), math.ceil(high_y / math.log(10)) + 1):
        _, at = place(math.exp(low_x), 10.0**power)
        if TOP <= at <= HEIGHT - BOTTOM:
            drawn += [
                f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>',
                f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{number(10.0**power)}</text>',
            ]
    ours = [line for line in lines if line[0] in OURS]
    theirs = [line for line in lines if line[0] not in OURS]
    names: list[tuple[float, str, str]] = []
    for group, colours in ((ours, OUR_COLOURS), (theirs, THEIR_COLOURS)):
        for place_in_group, (peer, line) in enumerate(group):
            colour = colours[place_in_group % len(colours)]
            path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for x, y in line:
                across_px, down_px = place(x, y)
                drawn.append(f'<circle cx="{across_px:.1f}" cy="{down_px:.1f}" r="3" fill="{colour}"/>')
            names.append((place(*line[-1])[1], peer, colour))
    lowest = 0.0
    for at, peer, colour in sorted(names):
        lowest = max(at, lowest + 14)
        drawn.append(
            f'<text x="{WIDTH - RIGHT + 8}" y="{lowest + 4:.1f}" fill="{colour}">{escape(peer)}</text>'
        )
    return "\n".join([*drawn, "</svg>\n"])


def _ends(values: list[float]) -> tuple[float, float]:
    """Logarithms of least and greatest, with room around them."""
    low, high = math.log(min(values)), math.log(max(values))
    room = max(0.05 * (high - low), 0.1)
    return low - room, high + room
