"""What a server would ask a new job for: its first demands are answered before they are made."""

from __future__ import annotations

from ..core.promised import first_parcels
from ..lineReceiver import messages as wire
from .job import Job

__all__ = ["Offers"]


class Offers:
    """Nodes that a server has named, as it said last.

    Args:
        said: Its welcome, or what it has said since of nodes that came and went.
    """

    def __init__(self, said: wire.Welcome | wire.Capacity) -> None:
        self.nodes = said.nodes
        self._slots = said.slots
        self._offers = said.offers  # none of a server that does not know what they are for

    def taken_by(self, job: Job) -> list[tuple[int, int, int]]:
        """Have a job draw parcels before it is asked: for each the node, tasks at once, and packets."""
        spec = job.spec
        if spec.nodes or not self._offers:
            return []  # which of them have such names is not known here
        # Short jobs one after the other should not all go to the same node.
        first = job.number % len(self._offers)
        demands = first_parcels(
            self._offers[first:] + self._offers[:first],
            tasks=job.tasks_left,
            chunksize=spec.slice_tasks,
            task_slots=spec.slots,
            slots=self._slots,
            expected_ns=job.expected_ns or 0,
        )
        job.nodes_changed(self.nodes)
        for demand in demands:
            job.granted(*demand)
        return demands
