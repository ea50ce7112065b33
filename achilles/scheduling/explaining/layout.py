"""Where the boxes of a drawing stand: in layers, top to bottom, with few crossings (after Sugiyama).

Each box stands below all that it waits for. An arrow that passes layers bends at a point in each of them,
which is placed like a box without extent.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .drawing import CARRIED, Arrow

__all__ = ["Layout", "Point", "layout_of"]

SWEEPS = 8
BEND_WIDTH = 12.0


class Point(NamedTuple):
    """In pixels, from the upper left corner."""

    x: float
    y: float


class Layout(NamedTuple):
    """Places in pixels.

    Attributes:
        centres: Each box's, by its name.
        bends: For each arrow the points that it passes between its two boxes; carried ones have none.
        width: Of all.
        height: Of all.
    """

    centres: dict[str, Point]
    bends: dict[Arrow, list[Point]]
    width: float
    height: float


def layout_of(
    widths: Mapping[str, float], arrows: Sequence[Arrow], box_height: float, gap: float, layer_gap: float
) -> Layout:
    """Place boxes.

    Args:
        widths: Each box's width by its name, in pixels, in source order: what decides where nothing else
            does.
        arrows: What leads from where to where.
        box_height: The height of a box.
        gap: Between neighbours of a layer.
        layer_gap: Between layers.
    """
    forward = _without_cycles(list(widths), [arrow for arrow in arrows if arrow.kind != CARRIED])
    depths = _depths(list(widths), forward)
    layers: list[list[str]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for name, depth in depths.items():
        layers[depth].append(name)
    extents = dict(widths)
    chains: dict[Arrow, list[str]] = {}
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for number, arrow in enumerate(forward):
        passed = [f"bend {number} {depth}" for depth in range(depths[arrow.tail] + 1, depths[arrow.head])]
        for depth, bend in enumerate(passed, start=depths[arrow.tail] + 1):
            layers[depth].append(bend)
            extents[bend] = BEND_WIDTH
        chains[arrow] = passed
        chain = [arrow.tail, *passed, arrow.head]
        for upper, lower in itertools.pairwise(chain):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    _order(layers, above, below)
    placed = _places(layers, extents, above, box_height, gap, layer_gap)
    width = max((placed[name].x + extents[name] / 2 for layer in layers for name in layer), default=0.0)
    height = len(layers) * (box_height + layer_gap) - layer_gap if layers else 0.0
    bends = {arrow: [placed[bend] for bend in chain] for arrow, chain in chains.items()}
    return Layout({name: placed[name] for name in widths}, bends, width, height)


def _without_cycles(names: list[str], arrows: list[Arrow]) -> list[Arrow]:
    """The arrows without those that lead back: calls of one inner function may wait for each other both
    ways."""
    leading: dict[str, list[Arrow]] = {name: [] for name in names}
    for arrow in arrows:
        leading[arrow.tail].append(arrow)
    state: dict[str, str] = {}
    kept: set[Arrow] = set()
    for root in names:
        if root in state:
            continue
        state[root] = "open"
        stack = [(root, iter(leading[root]))]
        while stack:
            name, rest = stack[-1]
            leads = next(rest, None)
            if leads is None:
                state[name] = "done"
                stack.pop()
            elif state.get(leads.head) != "open":
                kept.add(leads)
                if leads.head not in state:
                    state[leads.head] = "open"
                    stack.append((leads.head, iter(leading[leads.head])))
    return [arrow for arrow in arrows if arrow in kept]


def _depths(names: list[str], arrows: list[Arrow]) -> dict[str, int]:
    """For each box how many layers are above it: the longest way to it."""
    waits = dict.fromkeys(names, 0)
    leading: dict[str, list[str]] = {name: [] for name in names}
    for arrow in arrows:
        waits[arrow.head] += 1
        leading[arrow.tail].append(arrow.head)
    depths = dict.fromkeys(names, 0)
    ready = [name for name in names if not waits[name]]
    while ready:
        name = ready.pop(0)
        for head in leading[name]:
            depths[head] = max(depths[head], depths[name] + 1)
            waits[head] -= 1
            if not waits[head]:
                ready.append(head)
    return depths


def _order(layers: list[list[str]], above: dict[str, list[str]], below: dict[str, list[str]]) -> None:
    """Sort each layer by the mean place of the neighbours in the one above, then below, some times."""
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        fixed = layers[:-1] if downwards else layers[:0:-1]
        sorted_ones = layers[1:] if downwards else layers[-2::-1]
        for settled, layer in zip(fixed, sorted_ones, strict=True):
            places = {name: place for place, name in enumerate(settled)}
            middle = (len(settled) - 1) / 2
            means = {}
            for name in layer:
                known = [places[other] for other in neighbours.get(name, ()) if other in places]
                means[name] = sum(known) / len(known) if known else middle
            layer.sort(key=lambda name: means[name])


def _places(
    layers: list[list[str]],
    extents: dict[str, float],
    above: dict[str, list[str]],
    box_height: float,
    gap: float,
    layer_gap: float,
) -> dict[str, Point]:
    """Centre each layer, then move what may move below what it waits for."""
    spans = [sum(extents[name] for name in layer) + gap * (len(layer) - 1) for layer in layers]
    widest = max(spans, default=0.0)
    placed: dict[str, Point] = {}
    for depth, layer in enumerate(layers):
        y = depth * (box_height + layer_gap) + box_height / 2
        x = (widest - spans[depth]) / 2
        right = widest
        room = {}
        for name in reversed(layer):  # how far to the right each may stand at most
            room[name] = right - extents[name] / 2
            right -= extents[name] + gap
        left = 0.0
        for name in layer:
            wanted = [placed[other].x for other in above.get(name, ())]
            centre = sum(wanted) / len(wanted) if wanted else x + extents[name] / 2
            centre = min(max(centre, left + extents[name] / 2), room[name])
            placed[name] = Point(centre, y)
            left = centre + extents[name] / 2 + gap
            x += extents[name] + gap
    return placed
