"""The tables: every figure of every peer, and the bars, as Markdown."""

from __future__ import annotations

from benchmarks.bars import BARS, Bar
from benchmarks.peers import OURS
from benchmarks.records import Rounds
from benchmarks.workloads import WORKLOADS


def number(value: float | None) -> str:
    """Three significant digits, as people read them."""
    if value is None:
        return "–"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g} M"
    if abs(value) >= 1_000:
        return f"{round(value, -(len(str(int(abs(value)))) - 3)):,.0f}"
    return f"{value:.3g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join(
        [line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)]
    )


def figures_table(rounds: Rounds, workloads: list[str]) -> str:
    """Medians: a row for each figure, a column for each peer that has any of them."""
    peers = [
        peer
        for peer in rounds.peers()
        if any(cell.figures for cell in rounds.cells if cell.peer == peer and cell.workload in workloads)
    ]
    # Ours first, so that a narrow window shows them.
    peers.sort(key=lambda peer: peer not in OURS)
    rows = []
    for name in workloads:
        for figure in WORKLOADS[name].figures:
            medians = [rounds.median(name, peer, figure.key) for peer in peers]
            if any(median is not None for median in medians):
                rows.append([f"{name} {figure.title}", *map(number, medians)])
    return table(["medians", *peers], rows) if rows else ""


def ratios_table(rounds: Rounds, ours: str) -> str:
    """How many times as good as each peer: always more is better."""
    peers = [peer for peer in rounds.peers() if peer not in OURS and peer != "bounds"]
    rows = []
    for name in rounds.workloads():
        for figure in WORKLOADS[name].figures if name.startswith("W") else ():
            if not figure.compared:
                continue
            ratios = [rounds.ratio(name, figure.key, ours, peer) for peer in peers]
            if not figure.more_is_better:
                ratios = [1 / ratio if ratio else None for ratio in ratios]
            if any(ratio is not None for ratio in ratios):
                rows.append([f"{name} {figure.title}", *map(number, ratios)])
    return table([f"{ours} ÷", *peers], rows) if rows else ""


def bars_table(rounds: Rounds) -> str:
    """The bars whose workload was measured, and whether they hold."""
    rows = []
    for bar in BARS:
        holds = bar.holds(rounds)
        if holds is None:
            continue
        title = next(f.title for f in WORKLOADS[bar.workload].figures if f.key == bar.figure)
        rows.append(
            [
                f"{bar.workload} {title}",
                bar.ours,
                bar.demand,
                _measured(bar, rounds),
                "yes" if holds else "no",
            ]
        )
    return table(["", "who", "bar", "measured", "holds"], rows) if rows else ""


def _measured(bar: Bar, rounds: Rounds) -> str:
    said = number(bar.value(rounds))
    if bar.otherwise is not None:
        said += f"; {number(bar.otherwise.value(rounds))}"
    return said


def failures(rounds: Rounds) -> str:
    """What could not be measured, and why."""
    lines = {
        f"{cell.workload} {cell.peer}: {cell.failure}": None
        for cell in rounds.cells
        if cell.failure is not None
    }
    return "\n".join(lines)


def report(rounds: Rounds) -> str:
    """All tables."""
    measured = rounds.workloads()
    apart = [name for group in "SBG" for name in measured if name.startswith(group)]
    main = [name for name in measured if name.startswith("W")]
    parts = [figures_table(rounds, main)]
    parts += [ratios_table(rounds, ours) for ours in ("achilles", "cluster") if ours in rounds.peers()]
    parts.append(bars_table(rounds))
    parts += [figures_table(rounds, [name]) for name in apart]
    if failed := failures(rounds):
        parts.append("Not measured:\n" + failed)
    return "\n\n".join(part for part in parts if part)
