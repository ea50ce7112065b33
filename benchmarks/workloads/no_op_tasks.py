"""W1: tasks of no length.

``map`` with chunk size 1 of a function that gives its argument back, over a list of ints in warm
workers; the list grows until the call takes long enough. Tasks per second. Also with tasks of 1 ms of
CPU time: the CPU seconds spent inside tasks ÷ (workers × wall-clock seconds).
"""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.tasks import no_op, spin
from benchmarks.workloads.workload import Effort, Figure, Workload, efficiency, mapped, rate


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    mapped(peer, no_op, list(range(4 * peer.workers)), 1)
    per_s = rate(lambda tasks: mapped(peer, no_op, list(range(tasks)), 1), effort)
    one_ms = efficiency(peer, spin, [1_000] * effort.of(1_000, 8), 1)
    return {"tasks_per_s": per_s, "one_ms_efficiency": one_ms}


WORKLOADS = [
    Workload(
        "W1",
        "no-op tasks, chunk size 1",
        (Figure("tasks_per_s", "no-op tasks/s"), Figure("one_ms_efficiency", "1 ms tasks, efficiency")),
        measure,
    )
]
