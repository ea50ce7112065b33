"""W6: tasks of 10 ms of pure Python.

``map`` with chunk size 1 in warm workers. Efficiency: CPU seconds spent inside tasks ÷ (workers ×
wall-clock seconds); 1.0 cannot be passed.
"""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.tasks import spin
from benchmarks.workloads.workload import Effort, Figure, Workload, efficiency, mapped


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    mapped(peer, spin, [10] * 4 * peer.workers, 1)
    return {"efficiency": efficiency(peer, spin, [10_000] * effort.of(300, 4), 1)}


WORKLOADS = [Workload("W6", "10 ms tasks, chunk size 1", (Figure("efficiency", "efficiency"),), measure)]
