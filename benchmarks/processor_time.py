"""What a list of ints costs each process: ``python -m benchmarks.processor_time [items] [peers]``.

W2's job, five times for each peer in turn, and for each the best chunk size of a few: nanoseconds of the
processor by item, of the caller, of the workers together and of what stands between, and of the clock, twice
of which is what two cores had for it. The medians are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import defaultdict

import psutil

from benchmarks.peers import Peer, open_peer
from benchmarks.processes import adopt_orphans, end_all, scheduled_ns
from benchmarks.tasks import no_op

CHUNKSIZES = (5_000, 31_250, None)
TURNS = 5


def used_ns(peer: Peer) -> dict[str, int]:
    """Processor time so far by who used it: the caller, what stands between, and its other children."""
    between = set(peer.other_pids().values())
    found: dict[str, int] = defaultdict(int)
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        who = "caller" if process.pid == os.getpid() else "between" if process.pid in between else "workers"
        found[who] += scheduled_ns(process.pid)[0]
    return found


def measure(peer: Peer, items: list[int]) -> dict[str, float]:
    """Nanoseconds by item of the quickest chunk size."""
    runs = []
    for chunksize in CHUNKSIZES:
        before, began_ns = used_ns(peer), time.monotonic_ns()
        peer.map(no_op, items, chunksize)
        clock_ns = time.monotonic_ns() - began_ns
        after = used_ns(peer)
        spent = {who: (after[who] - before[who]) / len(items) for who in ("caller", "workers", "between")}
        runs.append({"clock": clock_ns / len(items), **spent})
    return min(runs, key=lambda run: run["clock"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", nargs="?", type=int, default=1_000_000)
    parser.add_argument("peers", nargs="?", default="stdlib,achilles,cluster")
    options = parser.parse_args()
    adopt_orphans()
    items = list(range(options.items))
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    try:
        for name in options.peers.split(",") * TURNS:
            with open_peer(name, 2) as peer:
                peer.map(no_op, items[:20_000], None)
                runs[name].append(measure(peer, items))
    finally:
        end_all()
    print(f"{'ns by item':12}{'clock':>9}{'caller':>9}{'workers':>9}{'between':>9}{'all':>9}")
    for name, of_peer in runs.items():
        medians = [
            statistics.median(run[key] for run in of_peer)
            for key in ("clock", "caller", "workers", "between")
        ]
        print(f"{name:12}" + "".join(f"{each:9.0f}" for each in [*medians, sum(medians[1:])]))


if __name__ == "__main__":
    main()
