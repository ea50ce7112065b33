"""W10: nodes far away: 5 ms of delay each way between the server and the node.

No-op tasks at default chunks on an achilles cluster whose node reaches the server through a proxy that
holds every byte back for 5 ms; tasks per second, and their share of what the cluster over TLS does
without the proxy, measured just before.
"""

from __future__ import annotations

from benchmarks.peers import Peer
from benchmarks.peers.achilles_cluster import ClusterOverTls
from benchmarks.processes import ROOT, free_port
from benchmarks.tasks import no_op
from benchmarks.workloads.workload import Effort, Figure, Workload, mapped, rate

DELAY_S = 0.005
PROXY = """
from benchmarks.delaying_proxy import run
run({listen}, {connect}, {delay_s})
"""


class FarCluster(ClusterOverTls):
    """A cluster whose node is behind the proxy."""

    def port_for_nodes(self, port: int) -> int:
        listen = free_port()
        program = PROXY.format(root=str(ROOT), listen=listen, connect=port, delay_s=DELAY_S)
        self._start_service("proxy", program, "ready")
        return listen


def tasks_per_s(peer: Peer, effort: Effort) -> float:
    mapped(peer, no_op, list(range(100)), None)
    return rate(lambda tasks: mapped(peer, no_op, list(range(tasks)), None), effort)


def measure(peer: Peer, effort: Effort) -> dict[str, float]:
    near = tasks_per_s(peer, effort)
    peer.stop()
    with FarCluster(peer.workers) as far_peer:
        far = tasks_per_s(far_peer, effort)
    return {"far_tasks_per_s": far, "far_share": far / near}


WORKLOADS = [
    Workload(
        "W10",
        "5 ms of delay each way",
        (Figure("far_tasks_per_s", "no-op tasks/s"), Figure("far_share", "share of that without delay")),
        measure,
        peers=("tls",),
    )
]
