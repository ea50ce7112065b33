"""The bars of several runs beside each other.

    python -m benchmarks.several_runs DIRECTORY...

Each is where a run has written (``python -m benchmarks --out DIRECTORY``). Prints, as Markdown, what each bar
asks, the medians of each run, and in how many runs it holds.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.bars import BARS, Bar
from benchmarks.records import Rounds
from benchmarks.tables import number, table
from benchmarks.workloads import WORKLOADS


def measured(bar: Bar, runs: list[Rounds]) -> str:
    """The figure or ratio in each run; of a bar with an alternative both."""
    each = ", ".join(number(bar.value(rounds)) for rounds in runs)
    return f"{each}; {measured(bar.otherwise, runs)}" if bar.otherwise is not None else each


def verdict(bar: Bar, runs: list[Rounds]) -> str:
    """In how many of the runs it holds."""
    holds = sum(bool(bar.holds(rounds)) for rounds in runs)
    return {0: "no", len(runs): "yes"}.get(holds, f"{holds} of {len(runs)}")


def several_runs(runs: list[Rounds]) -> str:
    """The table of all bars that every run has measured."""
    rows = []
    for bar in BARS:
        if all(bar.holds(rounds) is not None for rounds in runs):
            title = next(
                figure.title for figure in WORKLOADS[bar.workload].figures if figure.key == bar.figure
            )
            rows.append(
                [f"{bar.workload} {title}", bar.ours, bar.demand, measured(bar, runs), verdict(bar, runs)]
            )
    return table(["", "who", "bar", f"{len(runs)} runs", "holds"], rows)


def main() -> None:
    """Print the table for the directories of the command line."""
    if not sys.argv[1:]:
        sys.exit("python -m benchmarks.several_runs DIRECTORY...")
    print(several_runs([Rounds(Path(name) / "cells.jsonl", resume=True) for name in sys.argv[1:]]))


if __name__ == "__main__":
    main()
