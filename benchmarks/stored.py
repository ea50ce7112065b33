"""Ratios of an earlier run, to see at a glance whether something became much slower.

A ratio is ours ÷ the standard library's pool within one round, turned so that more is better. Kept of each
are the least, the median and the greatest of the rounds: how far rounds of one run lie apart is part of
what a later run has to be compared with.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.peers import OURS
from benchmarks.records import Rounds
from benchmarks.tables import number, table
from benchmarks.workloads import WORKLOADS

STORED = Path(__file__).with_name("stored.json")
# A median this much beyond all that was stored means something; less does not, between two runs.
NOISE = 1.3

Spread = tuple[float, float, float]


def ratios(rounds: Rounds) -> dict[str, Spread]:
    """(least, median, greatest) by workload, figure and who."""
    found: dict[str, Spread] = {}
    for name in rounds.workloads():
        for figure in WORKLOADS[name].figures:
            for ours in OURS if figure.compared else ():
                by_round = [ratio for ratio in rounds.ratios(name, figure.key, ours, "stdlib") if ratio > 0]
                if not figure.more_is_better:
                    by_round = [1 / ratio for ratio in by_round]
                if by_round:
                    spread = (min(by_round), statistics.median(by_round), max(by_round))
                    least, median, greatest = (float(f"{ratio:.3g}") for ratio in spread)
                    found[f"{name} {figure.key} {ours}"] = (least, median, greatest)
    return found


def store(rounds: Rounds, path: Path = STORED) -> None:
    """Keep this run's ratios for later ones, instead of those that were kept before."""
    lines = [f" {json.dumps(key)}: {json.dumps(spread)}" for key, spread in ratios(rounds).items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def comparison(rounds: Rounds, path: Path = STORED) -> str:
    """A table of the stored ratios beside this run's. A report, never a verdict."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = []
    for key, (_, now, _) in ratios(rounds).items():
        if key not in before:
            rows.append([key, "–", number(now), "new"])
            continue
        least, then, greatest = before[key]
        word = "worse" if now < least / NOISE else "better" if now > greatest * NOISE else "same"
        rows.append([key, f"{number(then)} ({number(least)} to {number(greatest)})", number(now), word])
    head = ["× stdlib", "stored", "now", f"(within {NOISE:g} × of the stored rounds: the same)"]
    return table(head, rows) if rows else "nothing to compare"
