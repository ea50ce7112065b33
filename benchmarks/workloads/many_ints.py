"""W2: a million ints through a function that gives its argument back.

``map`` in warm workers with several chunk sizes, of which the best counts, and with the peer's default.
Tasks per second. The default is left out where a sample says that it would take too long.
"""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped

CHUNKSIZES = (1_000, 5_000, 31_250)
TOO_LONG_S = 8.0
HOPELESS_S = 60.0


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    args = list(range(effort.of(1_000_000, 100)))
    mapped(peer, no_op, args[:20], 1)
    rates = [len(args) / mapped(peer, no_op, args, min(size, len(args))) for size in CHUNKSIZES]
    figures = {}
    # Jobs begin slowly, so only a longer sample tells those that would be long from those that ramp up.
    if all(
        mapped(peer, no_op, args[: len(args) // part], None) * part < too_long_s
        for part, too_long_s in ((1_000, HOPELESS_S), (100, TOO_LONG_S))
        if len(args) >= part
    ):
        figures["default_tasks_per_s"] = len(args) / mapped(peer, no_op, args, None)
        rates.append(figures["default_tasks_per_s"])
    return {"best_tasks_per_s": max(rates), **figures}


WORKLOADS = [
    Workload(
        "W2",
        "1 M ints",
        (
            Figure("best_tasks_per_s", "tasks/s at the best chunk size"),
            Figure("default_tasks_per_s", "tasks/s at the default"),
        ),
        measure,
    )
]
