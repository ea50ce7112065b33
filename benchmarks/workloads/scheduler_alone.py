"""S1: the scheduler alone, without sockets: packets decided per second with 10,000 nodes and 100 jobs.

`benchmarks.scheduler` says how. With tasks of 1 ms, and with tasks so long (20 ms) that each packet
travels alone, which is the most work that a packet can be; both of jobs that do not say how many tasks
they have, as over generators. And with tasks of 1 ms over lists of 10 million. The cost of a parcel with
10,000 nodes ÷ that with 10 is taken with tasks of 1 ms.
"""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.scheduler import run
from benchmarks.workloads.workload import Effort, Figure, Workload

FEW_NODES, MANY_NODES, JOBS = 10, 10_000, 100
SHORT_US, LONG_US = 1_000, 20_000
PACKETS = 60_000
LISTED_TASKS = 10_000_000


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    packets = effort.of(PACKETS, 2_000)
    many = min(MANY_NODES, effort.of(10 * MANY_NODES))  # fewer in tests alone
    few_nodes = run(FEW_NODES, JOBS, packets, SHORT_US)
    many_nodes = run(many, JOBS, packets, SHORT_US)
    listed = run(many, JOBS, packets, SHORT_US, LISTED_TASKS)
    long_tasks = run(many, JOBS, packets, LONG_US)
    return {
        "packets_per_s": many_nodes["packets_per_s"],
        "listed_packets_per_s": listed["packets_per_s"],
        "lone_packets_per_s": long_tasks["packets_per_s"],
        "cost_ratio": few_nodes["parcels_per_s"] / many_nodes["parcels_per_s"],
    }


WORKLOADS = [
    Workload(
        "S1",
        "the scheduler alone, 100 jobs",
        (
            Figure("packets_per_s", "packets/s, 10,000 nodes, 1 ms tasks"),
            Figure("listed_packets_per_s", "packets/s, 10,000 nodes, 1 ms tasks of lists"),
            Figure("lone_packets_per_s", "packets/s, 10,000 nodes, 20 ms tasks"),
            Figure("cost_ratio", "cost with 10,000 nodes ÷ with 10", more_is_better=False),
        ),
        measure,
        peers=("achilles",),
        starts_peer=True,
    )
]
