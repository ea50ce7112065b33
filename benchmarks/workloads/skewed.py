"""W8: one task in 50 is 100 times as long as the others (50 ms of CPU time and 0.5 ms).

``map`` with default chunks in warm workers, with the long tasks at random places and with all of them
at the end. Efficiency: CPU seconds spent inside tasks ÷ (workers × wall-clock seconds).
"""

from __future__ import annotations

import random

from benchmarks.peers import Peer
from benchmarks.tasks import spin
from benchmarks.workloads.workload import Effort, Figure, Workload, efficiency, mapped

SHORT_US = 500
LONG_US = 50_000


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    mapped(peer, spin, [10] * 4 * peer.workers, 1)
    tasks = effort.of(2_000, 50)
    at_tail = [SHORT_US] * (tasks - tasks // 50) + [LONG_US] * (tasks // 50)
    at_random = random.Random(4).sample(at_tail, len(at_tail))
    return {
        "random_efficiency": efficiency(peer, spin, at_random, None),
        "tail_efficiency": efficiency(peer, spin, at_tail, None),
    }


WORKLOADS = [
    Workload(
        "W8",
        "skewed tasks, default chunks",
        (
            Figure("random_efficiency", "efficiency, long ones at random"),
            Figure("tail_efficiency", "efficiency, long ones at the tail"),
        ),
        measure,
    )
]
