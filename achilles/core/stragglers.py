"""What an idle node may take over from others: work that waits there, or that runs unusually long.

What has not been begun is taken back and moves. What runs can only run a second time, which a job
has to allow (``speculate``); a parcel is late when it has kept its node busy for `LATE_FACTOR` times
as long as tasks of the job have taken so far, plus what usually waits before it. (Copies of late work
are as old as MapReduce: Dean and Ghemawat, "MapReduce: Simplified Data Processing on Large
Clusters", OSDI 2004, section 3.6, "backup tasks".)

Every look is bounded: some nodes, some jobs, their oldest parcels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import islice

from .levels import Levels
from .scheduler_events import TakeBack
from .scheduler_parcels import ParcelState
from .scheduler_state import WINDOW_NS, JobState, NodeState

__all__ = ["LATE_FACTOR", "Stragglers"]

# How far an idle node looks for parcels to take back.
LOOK_AT_NODES = 8
LOOK_AT_PARCELS = 4
# How far it looks for parcels that are late.
LOOK_AT_JOBS = 8
LOOK_AT_OLDEST = 16
LATE_FACTOR = 2.0
# Between two looks for late parcels.
LOOK_EVERY_NS = 10_000_000


class Stragglers:
    """Nodes that are idle, nodes where parcels wait, jobs that allow copies.

    Args:
        nodes: All nodes, by number; kept by the scheduler.
        jobs: All jobs.
        due: Their priorities.
    """

    def __init__(
        self, nodes: Mapping[int, NodeState], jobs: Mapping[int, JobState], due: Levels[int]
    ) -> None:
        self._nodes = nodes
        self._jobs = jobs
        self._due = due
        self._stocked: OrderedDict[int, None] = OrderedDict()
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._speculative: dict[int, None] = {}
        self._looked_ns = -LOOK_EVERY_NS
        self._next_look_ns: int | None = None

    def note(self, node: NodeState) -> None:
        """Keep the lists of nodes true."""
        number = node.node
        if node.has_stock():
            self._stocked[number] = None
        elif number in self._stocked:
            del self._stocked[number]
        if node.is_idle:
            self._idle[number] = None
        else:
            self._idle.pop(number, None)

    def node_lost(self, node: int) -> None:
        """That node is gone."""
        self._stocked.pop(node, None)
        self._idle.pop(node, None)

    def job_came(self, job: JobState) -> None:
        """There is a job more."""
        if job.speculate:
            self._speculative[job.job] = None

    def job_gone(self, job: int) -> None:
        """There is a job less."""
        self._speculative.pop(job, None)

    def take_back_for(self, node: NodeState) -> Iterator[TakeBack]:
        """Ask for a parcel that waits elsewhere and that this idle node could run, if there is one."""
        if (found := self._to_take_back(node)) is not None:
            yield _asked_back(*found, node)

    def slots_lent(self, node: NodeState) -> Iterator[TakeBack]:
        """Calls have other slots of a node than before: if they have all, what waits goes to who has room."""
        if node.lent >= node.cpu_count:
            for (job, _), parcel in node.parcels.items():
                if parcel.may_move and self._may_begin_elsewhere(self._jobs[job]):
                    yield _asked_back(job, parcel, node)

    def _may_begin_elsewhere(self, job: JobState) -> bool:
        return any(node.may_begin(job) and not node.draining for node in self._nodes.values())

    def _to_take_back(self, node: NodeState) -> tuple[int, ParcelState] | None:
        """The first that is found; or, where jobs have other priorities, of those seen of the highest."""
        best: tuple[int, ParcelState] | None = None
        highest = 0
        for number in islice(self._stocked, LOOK_AT_NODES):
            stocked = self._nodes[number]
            # The parcel that came last is the least likely to have been begun.
            for (job, _), parcel in islice(reversed(stocked.parcels.items()), LOOK_AT_PARCELS):
                if parcel.may_move and node.may_begin(self._jobs[job]):
                    priority = self._jobs[job].priority
                    if self._due.is_flat:
                        return job, parcel
                    if best is None or priority > highest:
                        best, highest = (job, parcel), priority
        return best

    def late(self, now_ns: int) -> tuple[NodeState, JobState, ParcelState] | int | None:
        """A late parcel and an idle node that could run it; or when to ask again, or None."""
        if not self._idle or not self._speculative:
            return None
        if now_ns < self._looked_ns + LOOK_EVERY_NS:
            return self._next_look_ns
        earliest_ns: int | None = None
        for number in islice(self._speculative, LOOK_AT_JOBS):
            job = self._jobs[number]
            for parcel in islice(job.parcels.values(), LOOK_AT_OLDEST):
                late_ns = self._late_at_ns(job, parcel)
                node = None if late_ns is None else self._idle_for(job)
                if late_ns is None or node is None:
                    continue
                if late_ns <= now_ns:
                    return node, job, parcel
                earliest_ns = late_ns if earliest_ns is None else min(earliest_ns, late_ns)
        self._looked_ns = now_ns
        self._next_look_ns = None if earliest_ns is None else max(earliest_ns, now_ns + LOOK_EVERY_NS)
        return self._next_look_ns

    def _late_at_ns(self, job: JobState, parcel: ParcelState) -> int | None:
        """When a parcel is late; None for one that cannot be."""
        node = self._nodes.get(parcel.node)
        if node is None or job.task_ns is None or not parcel.sent or parcel.twin is not None:
            return None
        if parcel.asked_back_for is not None and not parcel.begun:
            return None  # about to move
        rounds = -(-parcel.tasks // max(node.task_slots(job.slots), 1))
        return parcel.due_ns + int(LATE_FACTOR * (rounds * job.task_ns + WINDOW_NS))

    def _idle_for(self, job: JobState) -> NodeState | None:
        for number in islice(self._idle, LOOK_AT_NODES):
            if self._nodes[number].may_run(job):
                return self._nodes[number]
        return None


def _asked_back(job: int, parcel: ParcelState, node: NodeState) -> TakeBack:
    """The command, and a note of it."""
    parcel.asked_back_for = node.node
    return TakeBack(parcel.node, job, parcel.parcel, parcel.attempt)
