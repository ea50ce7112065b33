"""Jobs that not every node may run, or that come before others, and the nodes for each kind of them.

Most jobs need nothing but a slot, and have the same priority: they have no group, and cost nothing here.
The others form a group with all that have the same priority and the same needs. There are few kinds at a
time, so a node knows its groups, and a group its nodes; both are looked up only when a job or a node
comes, and when a node goes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping

from .node_names import NamePatterns
from .scheduler_events import PythonVersion
from .scheduler_state import JobState, NodeState

__all__ = ["Group", "Groups"]

Kind = tuple[int, PythonVersion | None, tuple[str, ...], int]


class Group:
    """Jobs of one kind: of equal priority, with equal needs.

    Attributes:
        nodes: Those that may run the jobs.
        task_slots: How many of their tasks these can run at once.
        roomy: Those with room for more of them, the one served last comes last.
        jobs: How many there are.
    """

    __slots__ = ("jobs", "kind", "nodes", "patterns", "priority", "python", "roomy", "slots", "task_slots")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.priority, self.python, patterns, self.slots = kind
        self.patterns = NamePatterns(patterns) if patterns else None
        self.nodes: dict[int, None] = {}
        self.task_slots = 0
        self.roomy: OrderedDict[int, None] = OrderedDict()
        self.jobs = 0

    @property
    def is_of_one(self) -> bool:
        """Whether its jobs are for one node alone, by its number, which no other will ever have."""
        return self.patterns is not None and self.patterns.is_number

    @property
    def is_narrow(self) -> bool:
        """Whether its jobs need more than their Python."""
        return self.patterns is not None or self.slots > 1

    def may_run_on(self, node: NodeState) -> bool:
        """Whether a node has what the jobs need."""
        if self.python is not None and self.python != node.python:
            return False
        if not node.task_slots(self.slots):
            return False
        if self.patterns is None:
            return True
        # Whatever a node says that its name is, the number is the server's.
        number = f"#{node.node}"
        return self.patterns.match((number,) if self.patterns.is_number else (*node.names, number))

    def take_in(self, node: NodeState) -> bool:
        """Note a node if it may run the jobs; whether it does."""
        if not self.may_run_on(node):
            return False
        self.nodes[node.node] = None
        self.task_slots += node.task_slots(self.slots)
        node.groups = (*node.groups, self)
        return True

    def let_go(self, node: NodeState) -> None:
        """Forget a node."""
        node.groups = tuple(group for group in node.groups if group is not self)
        self.roomy.pop(node.node, None)
        del self.nodes[node.node]
        self.task_slots -= node.task_slots(self.slots)


class Groups:
    """All groups of one scheduler.

    Args:
        nodes: All nodes, by number; kept by the scheduler.
        jobs: All jobs.
    """

    def __init__(self, nodes: Mapping[int, NodeState], jobs: Mapping[int, JobState]) -> None:
        self._nodes = nodes
        self._jobs = jobs
        self._groups: dict[Kind, Group] = {}
        self._jobs_at: Counter[int] = Counter()  # priority -> jobs
        # Nothing counts for less than jobs of this priority, so what room is left for them needs no index.
        self._lowest = 0

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def __bool__(self) -> bool:
        return bool(self._groups)

    def job_came(self, job: JobState) -> list[Group]:
        """Find the group of a job, if it needs one; the groups that had no jobs before."""
        self._jobs_at[job.priority] += 1
        before = {group for group in self._groups.values() if group.jobs}
        lowest = min(self._jobs_at)
        if lowest != self._lowest:
            self._lowest = lowest
            for other in self._jobs.values():
                if other is not job and not self._is_narrow(other):
                    self._leave(other)
                    self._join(other)
        self._join(job)
        for group in [group for group in self._groups.values() if not group.jobs]:
            del self._groups[group.kind]
            for number in list(group.nodes):
                group.let_go(self._nodes[number])
        return [group for group in self._groups.values() if group not in before]

    def _is_narrow(self, job: JobState) -> bool:
        return bool(job.patterns) or job.slots > 1

    def _join(self, job: JobState) -> None:
        if job.priority == self._lowest and not self._is_narrow(job):
            return
        kind = (job.priority, job.python, job.patterns, job.slots)
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = Group(kind)
            for node in self._nodes.values():
                group.take_in(node)
        group.jobs += 1
        job.group = group

    def _leave(self, job: JobState) -> None:
        if job.group is not None:
            job.group.jobs -= 1  # without any it ends when the next job comes
            job.group = None

    def job_gone(self, job: JobState) -> None:
        """A job is over."""
        self._jobs_at[job.priority] -= 1
        if not self._jobs_at[job.priority]:
            del self._jobs_at[job.priority]
        self._leave(job)

    def node_joined(self, node: NodeState) -> bool:
        """Find the groups of a node; whether it is the first of one."""
        joined = [group for group in self._groups.values() if group.take_in(node)]
        return any(len(group.nodes) == 1 for group in joined)

    def node_lost(self, node: NodeState) -> bool:
        """A node is gone; whether it was the last of a group."""
        groups = node.groups
        for group in groups:
            group.let_go(node)
        return any(not group.nodes for group in groups)
