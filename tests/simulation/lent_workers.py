"""Workers of a simulated node that are lent for single calls, and what the server is told of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from achilles.core import scheduler_events as server_ev
from achilles.core import slots_events as ev
from tests.simulation.scenario import MS

if TYPE_CHECKING:
    from tests.simulation.node_body import NodeBody

LONG_NS = 50 * MS


class LentWorkers:
    """Makes the calls of a node's plan.

    Args:
        node: Whose workers are lent.
    """

    def __init__(self, node: NodeBody) -> None:
        self._node = node
        self._world = node.world
        self._since_ns: dict[int, int] = {}
        self._told = 0
        for at_ns, lasts_ns in node.plan.calls:
            self._world.at(at_ns, self._call, lasts_ns)

    def __contains__(self, worker: int) -> bool:
        return worker in self._since_ns

    def _call(self, lasts_ns: int | None) -> None:
        node = self._node
        if node.state != "runs" or node.draining or not node.plans:
            return
        before = set(self._since_ns)
        node.hear(ev.WorkerAsked(self._world.now_ns, self._world.rng.choice(sorted(node.plans))))
        for worker in self._since_ns.keys() - before:
            self._world.after(LONG_NS, self.tell)
            if lasts_ns is not None:
                self._world.after(lasts_ns, self._returned, worker, lasts_ns)

    def lent(self, worker: int) -> None:
        """The brain lends a worker."""
        assert worker not in self._since_ns, "a worker is lent twice"
        self._since_ns[worker] = self._world.now_ns

    def lost(self, worker: int) -> None:
        """It died."""
        self._since_ns.pop(worker, None)
        self.tell()

    def _returned(self, worker: int, busy_ns: int) -> None:
        if worker in self._since_ns and self._node.workers[worker].alive:
            del self._since_ns[worker]
            self._node.hear(ev.WorkerReturned(self._world.now_ns, worker, busy_ns))
            self.tell()

    def connected(self) -> None:
        """To a server that was told nothing."""
        self._told = 0
        self._world.after(LONG_NS, self.tell)

    def tell(self) -> None:
        """Tell the server how many have been lent for long, if that has changed."""
        connection = self._node.connection
        long = sum(self._world.now_ns - since_ns >= LONG_NS for since_ns in self._since_ns.values())
        if connection is None or long == self._told or self._node.state != "runs":
            return
        self._told = long
        server, number = connection.server, connection.number
        connection.up.post(lambda: server.hear(server_ev.SlotsLent(self._world.now_ns, number, long)))
