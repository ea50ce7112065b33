"""W3: ``map`` of one item in warm workers.

Median and 99th percentile of the calls made one after another, in µs; with achilles through a `Pool` that is
kept, as with the other pools. `cold_us` is the median of ``achilles.map`` on a cluster where each call
connects, proves who it is, runs and closes.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.peers import Peer
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped, seconds_of

LEAST_CALLS = 10
MOST_CALLS = 2_000
COLD_CALLS = 30


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    for _ in range(5):
        peer.one(no_op, 0)
    calls_us: list[float] = []
    end_s = time.perf_counter() + effort.seconds
    while len(calls_us) < LEAST_CALLS or (time.perf_counter() < end_s and len(calls_us) < MOST_CALLS):
        calls_us.append(1e6 * seconds_of(lambda: peer.one(no_op, 0)))
    figures = _cold(peer) if peer.goes_cold() else {}
    cuts = statistics.quantiles(calls_us, n=100, method="inclusive")
    return {"median_us": statistics.median(calls_us), "p99_us": cuts[98], **figures}


def _cold(peer: Peer) -> dict[str, float]:
    cold_us: list[float] = []
    for _ in range(COLD_CALLS):
        peer.goes_cold()
        cold_us.append(1e6 * mapped(peer, no_op, [0], None))
    return {"cold_us": statistics.median(cold_us)}


WORKLOADS = [
    Workload(
        "W3",
        "one-item map in a warm pool",
        (
            Figure("median_us", "median, µs", more_is_better=False),
            Figure("p99_us", "99th percentile, µs", more_is_better=False),
            Figure("cold_us", "cold, median, µs", more_is_better=False),
        ),
        measure,
    )
]
