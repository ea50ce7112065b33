"""S2: a server that holds and feeds 1,000 nodes.

Another process simulates the nodes (`benchmarks.simulated_nodes`): real connections that prove the key,
through the local socket (``cluster``) or TLS (``tls``), of two slots each. Measured are: the server's
resident memory by node while all are idle; tasks per second with tasks that take no time, all of one
controller at chunk size 1; with tasks of a second, four for each slot, the share of the slots' time
between call and return that went into tasks; and how many of these tasks the least busy node ran ÷ the
average.
"""

from __future__ import annotations

import os
import time

from achilles import getClusterStatus
from benchmarks.peers import Peer
from benchmarks.peers.achilles_cluster import Cluster
from benchmarks.processes import memory_kib
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped, rate

NODES = 1_000
SLOTS = 2
# What the first nodes cost is the server's, not theirs.
FIRST_NODES = 50
TASK_S = 1.0
TASKS_PER_SLOT = 4
PROGRAM = """
from benchmarks.simulated_nodes import run
run({nodes}, {slots}, {task_s})
"""


class SimulatedCluster(Cluster):
    """A server with simulated nodes alone."""

    def __init__(self, workers: int, local_socket: str) -> None:
        super().__init__(workers, nodes=0)
        self.local_socket = local_socket

    def join(self, name: str, nodes: int, task_s: float) -> None:
        """Let so many join, and wait until they have."""
        os.environ.update(ACHILLES_HOST="127.0.0.1", ACHILLES_PORT=self.address.rpartition(":")[2])
        self._start_service(name, PROGRAM.format(nodes=nodes, slots=SLOTS, task_s=task_s), "joined")

    def leave(self, *names: str) -> None:
        """End those that joined under these names, and wait until no node is left."""
        for name in names:
            self._services.pop(name).stop()
        while getClusterStatus().nodes:
            time.sleep(0.05)


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    assert isinstance(peer, Cluster)
    nodes = min(NODES, effort.of(10 * NODES))  # fewer in tests alone
    with SimulatedCluster(peer.workers, peer.local_socket) as cluster:
        server = cluster.other_pids()["server"]
        cluster.join("first", FIRST_NODES, 0.0)
        mapped(cluster, no_op, list(range(1_000)), 1)
        before_kib = memory_kib(server, "VmRSS")
        cluster.join("others", nodes - FIRST_NODES, 0.0)
        figures = {"idle_kib": (memory_kib(server, "VmRSS") - before_kib) / (nodes - FIRST_NODES)}
        figures["fed_tasks_per_s"] = rate(
            lambda tasks: mapped(cluster, no_op, list(range(tasks)), 1), effort, first=nodes
        )
        cluster.leave("first", "others")
        cluster.join("slow", nodes, TASK_S)
        tasks = nodes * SLOTS * TASKS_PER_SLOT
        seconds = mapped(cluster, no_op, list(range(tasks)), 1)
        figures["busy_share"] = tasks * TASK_S / (nodes * SLOTS * seconds)
        done = [node["tasks_done"] for node in getClusterStatus().nodes]
        figures["least_share"] = min(done) * len(done) / sum(done)
    return figures


WORKLOADS = [
    Workload(
        "S2",
        "a server with 1,000 nodes",
        (
            Figure("idle_kib", "server's memory by idle node, KiB", more_is_better=False),
            Figure("fed_tasks_per_s", "no-op tasks/s"),
            Figure("busy_share", "1 s tasks, efficiency"),
            Figure("least_share", "tasks of the least busy node ÷ average"),
        ),
        measure,
        peers=("cluster", "tls"),
        starts_peer=True,
    )
]
