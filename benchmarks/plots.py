"""Bars as SVG, written by hand: one picture for each workload, ours in one colour, the others in another."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from benchmarks.growth_plots import Line, growth_picture
from benchmarks.peers import OURS
from benchmarks.records import Rounds
from benchmarks.tables import number
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.workload import Figure, Workload

WIDTH = 720
NAME_WIDTH = 110
NUMBER_WIDTH = 80
ROW_HEIGHT = 20
TITLE_HEIGHT = 34
OUR_COLOUR = "#b5482a"
THEIR_COLOUR = "#7d93a6"
# Beyond this factor between longest and shortest bar, lengths are logarithms.
LINEAR_UP_TO = 30


def write_plots(rounds: Rounds, directory: Path) -> list[Path]:
    """One file for each workload; returns their paths."""
    written = []
    for name in rounds.workloads():
        if WORKLOADS[name].grows is not None:
            written += _write_growth(rounds, directory, WORKLOADS[name])
            continue
        panels = [panel for figure in WORKLOADS[name].figures if (panel := _values(rounds, name, figure))]
        if panels:
            path = directory / f"{name}.svg"
            title = f"{name}: {WORKLOADS[name].title} ({rounds.count()} rounds, medians)"
            path.write_text(_picture(title, panels), encoding="utf-8")
            written.append(path)
    return written


def _write_growth(rounds: Rounds, directory: Path, workload: Workload) -> list[Path]:
    lines: list[Line] = []
    for peer in rounds.peers():
        medians = [(figure.at, rounds.median(workload.name, peer, figure.key)) for figure in workload.figures]
        points = [(at, median) for at, median in medians if at and median]
        if points:
            lines.append((peer, points))
    if not lines or workload.grows is None:
        return []
    path = directory / f"{workload.name}.svg"
    title = f"{workload.name}: {workload.title} ({rounds.count()} rounds, medians)"
    path.write_text(growth_picture(title, *workload.grows, lines), encoding="utf-8")
    return [path]


def _values(rounds: Rounds, workload: str, figure: Figure) -> tuple[Figure, list[tuple[str, float]]] | None:
    medians = [(peer, rounds.median(workload, peer, figure.key)) for peer in rounds.peers()]
    known = [(peer, median) for peer, median in medians if median is not None]
    known.sort(key=lambda one: one[1], reverse=figure.more_is_better)
    return (figure, known) if known else None


def _picture(title: str, panels: list[tuple[Figure, list[tuple[str, float]]]]) -> str:
    lines = [f'<text x="10" y="20" font-size="15">{escape(title)}</text>']
    top = TITLE_HEIGHT
    for figure, values in panels:
        better = "more is better" if figure.more_is_better else "less is better"
        shortest, longest = _ends([value for _, value in values])
        logarithmic = longest / shortest > LINEAR_UP_TO
        note = f"{figure.title} ({better}{', logarithmic' if logarithmic else ''})"
        lines.append(f'<text x="10" y="{top + 14}" fill="#444">{escape(note)}</text>')
        top += ROW_HEIGHT
        for peer, value in values:
            share = _share(value, shortest, longest, logarithmic)
            length = max(1.0, share * (WIDTH - NAME_WIDTH - NUMBER_WIDTH - 20))
            start = NAME_WIDTH + 8
            colour = OUR_COLOUR if peer in OURS else THEIR_COLOUR
            middle = top + 14
            lines += [
                f'<text x="{NAME_WIDTH}" y="{middle}" text-anchor="end">{escape(peer)}</text>',
                f'<rect x="{start}" y="{top + 3}" width="{length:.1f}" height="14" fill="{colour}"/>',
                f'<text x="{start + 6 + length:.1f}" y="{middle}">{number(value)}</text>',
            ]
            top += ROW_HEIGHT
        top += ROW_HEIGHT // 2
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *lines, "</svg>\n"])


def _ends(values: list[float]) -> tuple[float, float]:
    positive = [value for value in values if value > 0] or [1.0]
    return min(positive), max(positive)


def _share(value: float, shortest: float, longest: float, logarithmic: bool) -> float:
    if value <= 0:
        return 0.0
    if not logarithmic:
        return value / longest
    # The shortest bar still shows.
    return (math.log10(value / shortest) + 0.3) / (math.log10(longest / shortest) + 0.3)
