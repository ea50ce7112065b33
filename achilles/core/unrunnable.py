"""Jobs that no node can run although there are nodes: how long they wait, and what they are told.

Nodes that lost the server come back one by one, so nobody is told at once. What a Python cannot run has an
end sooner: when nodes have been here for long, and none of that version, none is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import pythons
from .groups import Group
from .node_names import listed
from .pythons import PythonVersions
from .scheduler_state import JobState, NodeState

__all__ = ["Unrunnable"]


class Unrunnable:
    """Counts jobs' patience.

    Args:
        nodes: All nodes, by number; kept by the scheduler, as all of these.
        jobs: All jobs.
        versions: Of nodes.
    """

    def __init__(
        self, nodes: Mapping[int, NodeState], jobs: Mapping[int, JobState], versions: PythonVersions
    ) -> None:
        self._nodes = nodes
        self._jobs = jobs
        self._versions = versions
        self._refused_at_ns: dict[int, int] = {}

    def may_run(self, job: JobState) -> bool:
        """Whether a node can run the job, or there is none at all and one may come that can."""
        if job.group is not None:
            return bool(job.group.nodes) or (not self._nodes and not job.group.is_of_one)
        return self._versions.can_run(job.python)

    def may_wait(self, job: JobState, now_ns: int) -> bool:
        """Whether a node that can run the job may be about to come."""
        if job.group is not None and job.group.is_of_one:
            return False
        return self._versions.can_run(job.python) or self._versions.may_come_back(job.python, now_ns)

    def watch(self, now_ns: int) -> int | None:
        """Look at the jobs again, now that nodes came or went; when to look at their patience."""
        wake_ns = None
        for job in self._jobs.values():
            if self.may_run(job):
                self._refused_at_ns.pop(job.job, None)
            elif job.job not in self._refused_at_ns:
                wake_ns = self._refused_at_ns[job.job] = now_ns + pythons.VERSION_PATIENCE_NS
        return wake_ns

    def hopeless(self) -> list[JobState]:
        """Jobs for one node alone, which is gone."""
        return [job for job in self._jobs.values() if job.group is not None and self._is_hopeless(job.group)]

    def _is_hopeless(self, group: Group) -> bool:
        return group.is_of_one and not group.nodes

    def forget(self, job: int) -> None:
        """The job is gone."""
        self._refused_at_ns.pop(job, None)

    def overdue(self, now_ns: int) -> Iterator[JobState]:
        """Jobs whose patience has ended; those that are not forgotten come again."""
        while self._refused_at_ns:
            number, at_ns = next(iter(self._refused_at_ns.items()))
            if at_ns > now_ns:
                return
            yield self._jobs[number]

    def reason(self, job: JobState) -> tuple[str, str]:
        """Why no node can run a job, and what to do; the code of that first."""
        if job.python is not None and not self._versions.can_run(job.python):
            return "version", self._versions.reason(job.python)
        assert job.group is not None
        patterns, slots = job.group.patterns, job.slots
        fitting = [node for node in self._nodes.values() if patterns is None or patterns.match(node.names)]
        asked = "" if patterns is None else f" among those that match {listed(patterns.patterns, '`')}"
        if not fitting:
            assert patterns is not None
            there = listed(_named(node) for node in self._nodes.values())
            return "nodes", (
                f"no node's name or address matches {listed(patterns.patterns, '`')}; there is {there}: "
                f"start the node that is meant, or ask for one of these"
            )
        running = [node for node in fitting if job.python in (None, node.python)]
        if not running:
            assert job.python is not None
            return "nodes", (
                f"the function travels by value, as bytecode of Python {job.python[0]}.{job.python[1]}, and "
                f"no node{asked} runs that: start one that does"
            )
        largest = max(running, key=lambda node: (node.task_slots(slots), node.cpu_count))
        if largest.cpu_count >= slots:
            return "nodes", (
                f"a task needs {slots} slots, and no node{asked} knows how to keep several for one: update "
                f"achilles on {_named(largest)}"
            )
        return "nodes", (
            f"a task needs {slots} slots, and the largest node{asked}, {_named(largest)}, has "
            f"{largest.cpu_count}: start a larger one, or ask for fewer slots"
        )


def _named(node: NodeState) -> str:
    name, *others = node.names or (f"node {node.node}",)
    return f"{name} ({', '.join(others)})" if others else name
