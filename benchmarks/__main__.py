"""Command line: ``python -m benchmarks [--bars] [--only W1,W3] [--rounds N] [--resume]``."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import stored
from benchmarks.bars import needed
from benchmarks.peers import ADAPTERS, missing
from benchmarks.plots import write_plots
from benchmarks.processes import ROOT
from benchmarks.records import Rounds
from benchmarks.rounds import Plan, run
from benchmarks.tables import report
from benchmarks.workloads import WORKLOADS, Effort

SMOKE_WORKLOADS = ("W1", "W2", "W3", "W6", "W8", "W9")
SMOKE_PEERS = ("stdlib", "achilles", "cluster")
SMOKE_ENOUGH_S = 75.0
PACKAGES = (
    "multiprocess",
    "loky",
    "joblib",
    "mpire",
    "distributed",
    "ray",
    "ipyparallel",
    "numpy",
    "twisted",
)


def machine() -> dict[str, str]:
    """What ran it."""
    model = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    found = {
        "processor": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def names(said: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Names of a list with commas, each known."""
    found = tuple(name.strip() for name in said.split(",") if name.strip())
    unknown = [name for name in found if name not in known]
    if unknown or not found:
        sys.exit(f"unknown {what} {', '.join(unknown) or repr(said)}; known: {', '.join(known)}")
    return found


def fewer_of(said: str) -> dict[str, int]:
    """``ray=2,dask=1`` as a table."""
    parts = [part.partition("=") for part in said.split(",") if part]
    names(",".join(peer for peer, _, _ in parts) or "stdlib", tuple(ADAPTERS), "peer")
    if wrong := [peer for peer, _, rounds in parts if not rounds.isdecimal()]:
        sys.exit(f"--fewer says no number of rounds for {', '.join(wrong)}")
    return {peer: int(rounds) for peer, _, rounds in parts}


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(WORKLOADS), help="workloads, with commas between")
    parser.add_argument("--peers", default=",".join(ADAPTERS), help="peers, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fewer", default="", help="peers with fewer rounds, such as ray=2,dask=2")
    parser.add_argument("--bars", action="store_true", help="only what decides the bars")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of each peer")
    parser.add_argument("--seconds", type=float, default=1.0, help="a rate is taken over so long")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on workloads of fixed size")
    parser.add_argument("--cell-timeout", type=float, default=60.0, help="seconds for one measurement")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks")
    parser.add_argument(
        "--enough", type=float, default=math.inf, help="seconds after which no further round is begun"
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier run stopped")
    parser.add_argument("--report", action="store_true", help="run nothing; print what there is")
    parser.add_argument("--store", action="store_true", help="keep the ratios for later smoke runs")
    parser.add_argument("--smoke", action="store_true", help="three short rounds; compare with stored ratios")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.only, options.peers = ",".join(SMOKE_WORKLOADS), ",".join(SMOKE_PEERS)
        options.rounds, options.seconds, options.scale, options.cell_timeout = 3, 0.2, 0.2, 20.0
        options.enough = SMOKE_ENOUGH_S
        options.out = options.out / "smoke"
    return options


def main(arguments: list[str] | None = None) -> None:
    """Run, print, write."""
    options = options_of(arguments)
    # Ended from outside, everything that was started is ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    workloads = names(options.only, tuple(WORKLOADS), "workload")
    peers = []
    for peer in names(options.peers, tuple(ADAPTERS), "peer"):
        if package := missing(peer):
            print(f"{peer} is left out: {package} is not installed")
        else:
            peers.append(peer)
    rounds = Rounds(options.out / "cells.jsonl", resume=options.resume or options.report)
    effort = Effort(options.seconds, options.scale)
    plan = Plan(
        workloads,
        tuple(peers),
        options.rounds,
        options.workers,
        effort,
        options.cell_timeout,
        options.enough,
        needed() if options.bars else None,
        fewer_of(options.fewer),
    )
    facts = machine()
    print("; ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    if not options.report:
        run(plan, rounds, lambda line: print(line, flush=True))
    tables = report(rounds)
    if options.smoke:
        tables += "\n\n" + stored.comparison(rounds)
    print(f"\n{rounds.count()} rounds, {options.workers} workers each\n\n{tables}")
    (options.out / "tables.md").write_text(tables + "\n", encoding="utf-8")
    medians = {
        f"{name} {figure.key}": {peer: rounds.median(name, peer, figure.key) for peer in rounds.peers()}
        for name in rounds.workloads()
        for figure in WORKLOADS[name].figures
    }
    summary = {"machine": facts, "rounds": rounds.count(), "medians": medians}
    (options.out / "figures.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    write_plots(rounds, options.out)
    print(f"\nwritten to {options.out}")
    if options.store:
        stored.store(rounds)


if __name__ == "__main__":
    main()
