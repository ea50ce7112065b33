"""Ratios of an earlier run, to see at a glance whether something became much slower."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.peers import OURS
from benchmarks.records import Rounds
from benchmarks.tables import number, table
from benchmarks.workloads import WORKLOADS

STORED = Path(__file__).with_name("stored.json")
# Between two runs on one noisy machine less than this means nothing.
NOISE = 1.3


def ratios(rounds: Rounds) -> dict[str, float]:
    """Ours ÷ the standard library's pool, turned so that more is better; by workload, figure and who."""
    found = {}
    for name in rounds.workloads():
        for figure in WORKLOADS[name].figures:
            for ours in OURS if figure.compared else ():
                ratio = rounds.ratio(name, figure.key, ours, "stdlib")
                if ratio:
                    better = ratio if figure.more_is_better else 1 / ratio
                    found[f"{name} {figure.key} {ours}"] = float(f"{better:.3g}")
    return found


def store(rounds: Rounds, path: Path = STORED) -> None:
    """Keep this run's ratios for later ones; those that were not measured stay."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept.update(ratios(rounds))
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def comparison(rounds: Rounds, path: Path = STORED) -> str:
    """A table of the stored ratios beside this run's. A report, never a verdict."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = []
    for key, now in ratios(rounds).items():
        then = before.get(key)
        if then is None:
            word = "new"
        elif now < then / NOISE:
            word = "worse"
        else:
            word = "better" if now > then * NOISE else "same"
        rows.append([key, number(then), number(now), word])
    head = ["× stdlib", "stored", "now", f"(within {NOISE:g} × is noise)"]
    return table(head, rows) if rows else "nothing to compare"
