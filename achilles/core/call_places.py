"""Which node the single calls of a job go to, past demands and parcels.

A call is small and short, and its caller waits: so it goes at once to a node which most likely has an idle
worker, and is given back unrun if it has none. The choice is made for a job, not for each call, and
stands until that node refuses one, drains or is gone. What calls take is not counted anywhere here: a node
that runs one has a slot less for that long, as with any item that takes longer than was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .scheduler_events import Command, IntroduceJob, PlaceCalls, PlaceWanted
from .scheduler_state import JobState, NodeState

__all__ = ["CallPlaces"]


class CallPlaces:
    """Chooses nodes for calls.

    Args:
        nodes: All nodes, by number; kept by the scheduler, as both of these.
        jobs: All jobs.
    """

    def __init__(self, nodes: Mapping[int, NodeState], jobs: Mapping[int, JobState]) -> None:
        self._nodes = nodes
        self._jobs = jobs

    def place(self, event: PlaceWanted) -> Iterator[Command]:
        """Choose where the calls of a job go from now on; nothing follows where no node could run them."""
        job = self._jobs.get(event.job)
        if job is None or job.slots > 1:
            return
        if (before := self._nodes.get(job.calls_at)) is not None:
            before.callers.discard(job.job)
        numbers = self._nodes if job.group is None else job.group.nodes
        fitting = [node for node in map(self._nodes.__getitem__, numbers) if self._may_take(node, job)]
        if not fitting:
            return
        node = min(fitting, key=lambda one: self._rank(one, job, event.refused_by))
        node.callers &= node.jobs  # without those that are over
        node.callers.add(job.job)
        job.calls_at = node.node
        if job.job not in node.jobs:
            node.jobs.add(job.job)
            job.nodes.add(node.node)
            yield IntroduceJob(node.node, job.job)
        yield PlaceCalls(node.node, job.job)

    def _may_take(self, node: NodeState, job: JobState) -> bool:
        return node.takes_calls and not node.takes_nothing and node.may_run(job)

    def _rank(self, node: NodeState, job: JobState, refused_by: int) -> tuple[bool, bool, float, bool, int]:
        """The lower, the better."""
        return (
            node.node == refused_by,
            node.slots_due >= node.cpu_count,
            len(node.callers) / node.cpu_count,
            job.job not in node.jobs,
            node.node,
        )
