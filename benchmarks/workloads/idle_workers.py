"""S3: memory of an idle worker process, after one small job.

The mean over the workers of what ``/proc`` says: the proportional share (a page that several processes
share counts for each as its part), the private part alone, and all that is resident. The standard
library's pool forks by default on Linux, so its workers share nearly everything with their parent.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped


def rollup_kib(pid: int) -> dict[str, int]:
    """A process's memory, summed over its mappings."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    mapped(peer, no_op, list(range(20 * peer.workers)), 1)
    found = [rollup_kib(pid) for pid in peer.worker_pids()]
    if not found:
        return {}

    def mean_mib(*names: str) -> float:
        return sum(rollup[name] for rollup in found for name in names) / len(found) / 1024

    return {
        "worker_pss_mib": mean_mib("Pss"),
        "worker_uss_mib": mean_mib("Private_Clean", "Private_Dirty"),
        "worker_rss_mib": mean_mib("Rss"),
    }


WORKLOADS = [
    Workload(
        "S3",
        "memory of an idle worker",
        (
            Figure("worker_pss_mib", "proportional, MiB", more_is_better=False, compared=False),
            Figure("worker_uss_mib", "private, MiB", more_is_better=False, compared=False),
            Figure("worker_rss_mib", "resident, MiB", more_is_better=False, compared=False),
        ),
        measure,
        peers=("stdlib", "multiprocess", "achilles", "cluster"),
    )
]
