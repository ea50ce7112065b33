"""Nodes with room, least recently served first, so that a job finds one at once; and what room is.

A node has room while less work lies there than its window. For a job of a higher priority than others only
what comes before it or beside it counts: so it gets its window at a node that is full of what can wait.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice

from .groups import Group, Groups
from .levels import Levels
from .scheduler_events import PythonVersion
from .scheduler_state import MAX_JOBS_PER_NODE, MAX_OPEN_DEMANDS, JobState, NodeState

__all__ = ["RoomyNodes"]


class RoomyNodes:
    """An index of the nodes that have room: by Python version, and for each group.

    Args:
        nodes: All nodes, by number; kept by the scheduler, as all of these.
        jobs: All jobs.
        due: Which of them want room.
        groups: Those of jobs that need more than their Python.
    """

    def __init__(
        self,
        nodes: Mapping[int, NodeState],
        jobs: Mapping[int, JobState],
        due: Levels[int],
        groups: Groups,
    ) -> None:
        self._nodes = nodes
        self._jobs = jobs
        self._due = due
        self._groups = groups
        self._by_python: dict[PythonVersion, OrderedDict[int, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_python) or (bool(self._groups) and any(group.roomy for group in self._groups))

    def note(self, node: NodeState) -> None:
        """Take a node in as the one served last; or out, when it has no room."""
        if node.draining or not node.has_room():
            self._take_out(node)
        else:
            roomy = self._by_python.get(node.python)
            if roomy is None:
                roomy = self._by_python[node.python] = OrderedDict()
            roomy[node.node] = None
            roomy.move_to_end(node.node)
        for group in node.groups:
            self.note_for(group, node)

    def note_for(self, group: Group, node: NodeState) -> None:
        """The same for the jobs of one group."""
        if node.draining or not self._has_room_at(node, group.priority):
            group.roomy.pop(node.node, None)
        else:
            group.roomy[node.node] = None
            group.roomy.move_to_end(node.node)

    def group_came(self, group: Group) -> None:
        """See which of its nodes have room."""
        for number in group.nodes:
            self.note_for(group, self._nodes[number])

    def lost(self, node: NodeState) -> None:
        """Take a node out."""
        self._take_out(node)
        for group in node.groups:
            group.roomy.pop(node.node, None)

    def _take_out(self, node: NodeState) -> None:
        roomy = self._by_python.get(node.python)
        if roomy is not None:
            roomy.pop(node.node, None)
            if not roomy:
                del self._by_python[node.python]

    def first_for(self, job: JobState) -> NodeState | None:
        """A node with room that the job has not asked yet. It has asked few, so few are passed."""
        if job.group is not None:
            indexes: Iterable[Mapping[int, None]] = (job.group.roomy,)
        elif job.python is None:
            indexes = self._by_python.values()
        else:
            indexes = (self._by_python.get(job.python, {}),)
        for roomy in indexes:
            for number in islice(roomy, MAX_OPEN_DEMANDS + 1):
                if job.lost or number not in job.open_demands:
                    return self._nodes[number]
        return None

    def first_wanted(self) -> NodeState | None:
        """A node with room for the job that is due, of the jobs that such a node may run."""
        if not self._due.active or not self:
            return None
        number = self._due.first_that(lambda key: self.first_for(self._jobs[key]) is not None, self._groups)
        return None if number is None else self.first_for(self._jobs[number])

    def due_on(self, node: NodeState) -> JobState | None:
        """The job that is due, of those that may add a parcel to a node."""
        if not self._due.active:
            return None
        jobs = self._jobs
        has_room = node.has_room()
        if self._due.is_flat:
            if not (has_room or node.has_room_for_another()):
                return None
            number = self._due.first_that(lambda key: node.may_add(jobs[key], has_room), node.groups)
            return None if number is None else jobs[number]
        for level in self._due.from_high():
            has_room = self._has_room_at(node, level.priority)
            if has_room or self._has_room_for_another_at(node, level.priority):
                number = level.first_that(lambda key: node.may_add(jobs[key], has_room), node.groups)  # noqa: B023 - called at once
                if number is not None:
                    return jobs[number]
        return None

    def has_room_for(self, node: NodeState, job: JobState) -> bool:
        """Whether a job may add a parcel to a node."""
        if self._has_room_at(node, job.priority):
            return node.may_add(job, True)
        return self._has_room_for_another_at(node, job.priority) and node.may_add(job, False)

    def _has_room_at(self, node: NodeState, priority: int) -> bool:
        """Whether any job of this priority may add a parcel."""
        if node.has_room() or node.takes_nothing or self._due.is_flat:
            return node.has_room()
        jobs = self._jobs
        lying = [one for (job, _), one in node.parcels.items() if jobs[job].priority >= priority]
        asked = [work_ns for job, work_ns in node.reserved.items() if jobs[job].priority >= priority]
        return len(lying) + len(asked) < 2 or sum(one.work_ns for one in lying) + sum(asked) < node.full_ns

    def _has_room_for_another_at(self, node: NodeState, priority: int) -> bool:
        """Whether a job of this priority that has nothing here may add one parcel though there is no room."""
        if self._due.is_flat or node.takes_nothing:
            return node.has_room_for_another()
        beside = sum(self._jobs[job].priority >= priority for job in (*node.parcels_of, *node.reserved))
        # What waits for others anyway might begin something long in a gap between their parcels.
        return beside < MAX_JOBS_PER_NODE and self._slots_above(node, priority) < node.cpu_count

    def _slots_above(self, node: NodeState, priority: int) -> int:
        """How many slots the jobs of a higher priority can fill with what lies here or is on its way."""
        tasks = {job: node.cpu_count for job in node.reserved if self._jobs[job].priority > priority}
        for (job, _), parcel in node.parcels.items():
            if self._jobs[job].priority > priority:
                tasks[job] = tasks.get(job, 0) + parcel.missing_tasks
        slots = {job: self._jobs[job].slots for job in tasks}
        return sum(min(tasks[job], node.task_slots(slots[job])) * slots[job] for job in tasks)
