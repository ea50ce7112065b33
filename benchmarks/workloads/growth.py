"""G1 to G4: how cost grows with the length of the job, the payload, the nodes and the jobs.

All with no-op tasks in warm workers. G1: µs per task of a ``map`` of 1 to 1,000,000 ints at default
chunks. G2: µs per item of ``bytes`` of 100 B to 8 MiB, echoed, chunk size 1. G3: tasks per second with
1, 2 and 4 nodes of one worker each on this machine (so it shows what nodes cost, not what they
bring). G4: tasks per second of 1, 4 and 16 jobs at once, each in a thread, together.
"""

from __future__ import annotations

import threading
import time

from benchmarks.peers import Peer
from benchmarks.peers.achilles_cluster import Cluster
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped, rate

LENGTHS = (1, 100, 10_000, 1_000_000)
PAYLOADS_BYTES = (100, 10_000, 1 << 20, 8 << 20)
NODES = (1, 2, 4)
JOBS = (1, 4, 16)


def measure_lengths(peer: Peer, effort: Effort) -> dict[str, float]:
    figures = {}
    mapped(peer, no_op, list(range(100)), None)
    for length in LENGTHS:
        tasks = length if length <= 100 else effort.of(length, 100)
        args = list(range(tasks))
        repeats = max(1, min(20, 10_000 // length))
        best_s = min(mapped(peer, no_op, args, None) for _ in range(repeats))
        figures[f"of_{length}_us"] = 1e6 * best_s / tasks
    return figures


def measure_payloads(peer: Peer, effort: Effort) -> dict[str, float]:
    figures = {}
    mapped(peer, no_op, list(range(100)), 1)
    for size_bytes in PAYLOADS_BYTES:
        most = max(8, (256 << 20) // size_bytes)

        def run(tasks: int, size_bytes: int = size_bytes) -> float:
            return mapped(peer, no_op, [bytes([i % 256]) * size_bytes for i in range(tasks)], 1)

        figures[f"of_{size_bytes}_bytes_us"] = 1e6 / rate(run, effort, first=min(8, most), most=most)
    return figures


def measure_nodes(peer: Peer, effort: Effort) -> dict[str, float]:
    figures = {}
    for nodes in NODES:
        with Cluster(1, nodes) as cluster:
            mapped(cluster, no_op, list(range(100)), 1)
            figures[f"on_{nodes}_tasks_per_s"] = rate(
                lambda tasks, cluster=cluster: mapped(cluster, no_op, list(range(tasks)), 1),  # type: ignore[misc]
                effort,
            )
    return figures


def measure_jobs(peer: Peer, effort: Effort) -> dict[str, float]:
    figures = {}
    mapped(peer, no_op, list(range(100)), 1)

    def together(tasks: int, jobs: int) -> float:
        args = list(range(max(1, tasks // jobs)))
        threads = [threading.Thread(target=peer.map, args=(no_op, args, 1)) for _ in range(jobs)]
        began_s = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began_s

    for jobs in JOBS:
        figures[f"of_{jobs}_tasks_per_s"] = rate(lambda tasks, jobs=jobs: together(tasks, jobs), effort)  # type: ignore[misc]
    return figures


WORKLOADS = [
    Workload(
        "G1",
        "cost per task by length of the job",
        tuple(Figure(f"of_{n}_us", f"{n:,} tasks, µs", more_is_better=False, at=n) for n in LENGTHS),
        measure_lengths,
        peers=("stdlib", "achilles", "cluster", "tls"),
        grows=("tasks of the job", "µs per task"),
    ),
    Workload(
        "G2",
        "cost per item by payload",
        tuple(
            Figure(f"of_{n}_bytes_us", f"{n:,} bytes, µs", more_is_better=False, at=n) for n in PAYLOADS_BYTES
        ),
        measure_payloads,
        peers=("stdlib", "achilles", "cluster", "tls"),
        grows=("bytes of an item", "µs per item"),
    ),
    Workload(
        "G3",
        "no-op tasks by nodes",
        tuple(Figure(f"on_{n}_tasks_per_s", f"{n} nodes, tasks/s", at=n) for n in NODES),
        measure_nodes,
        peers=("cluster",),
        starts_peer=True,
        grows=("nodes", "tasks per second"),
    ),
    Workload(
        "G4",
        "no-op tasks by jobs at once",
        tuple(Figure(f"of_{n}_tasks_per_s", f"{n} jobs, tasks/s", at=n) for n in JOBS),
        measure_jobs,
        peers=("stdlib", "achilles", "cluster"),
        grows=("jobs at once", "tasks per second"),
    ),
]
