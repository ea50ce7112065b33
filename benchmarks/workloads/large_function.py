"""W9: a function that carries a large object: a partial over an array of 1 MB that it does not look at.

``map`` over ints in warm workers; calls per second. With chunk size 1 the list grows until the call takes
long enough. With the peer's default chunks it is a list of 10,000, and the median of several calls: a
longer list would only hide what the object costs. Peers that would take too long get fewer.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

from benchmarks.peers import Peer
from benchmarks.tasks import no_op, no_op_over
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped, rate

DEFAULT_TASKS = 10_000
SAMPLE_TASKS = 200
TOO_LONG_S = 8.0


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    import numpy as np

    function = partial(no_op_over, np.zeros(1_000_000 // 8))
    mapped(peer, no_op, list(range(4 * peer.workers)), 1)
    once_s, twice_s = (
        min(mapped(peer, function, list(range(tasks)), None) for _ in range(2))
        for tasks in (SAMPLE_TASKS, 2 * SAMPLE_TASKS)
    )
    # With a fixed number of chunks a longer list costs hardly more.
    each_s = (twice_s - once_s) / SAMPLE_TASKS
    too_slow = once_s + each_s * DEFAULT_TASKS > TOO_LONG_S
    args = list(range(SAMPLE_TASKS if too_slow else DEFAULT_TASKS))
    calls_s: list[float] = []
    end_s = time.perf_counter() + effort.seconds
    while not calls_s or time.perf_counter() < end_s:
        calls_s.append(mapped(peer, function, args, None))
    return {
        "chunk_1_calls_per_s": rate(lambda tasks: mapped(peer, function, list(range(tasks)), 1), effort),
        "default_calls_per_s": len(args) / statistics.median(calls_s),
    }


WORKLOADS = [
    Workload(
        "W9",
        "partial over a 1 MB array",
        (
            Figure("chunk_1_calls_per_s", "calls/s, chunk size 1"),
            Figure("default_calls_per_s", "calls/s, default chunks"),
        ),
        measure,
    )
]
