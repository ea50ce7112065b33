"""Which versions of Python the nodes run, and which jobs wait for one that none of them runs.

A function that travels by value is bytecode, which only its own minor version can run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from .scheduler_events import PythonVersion
from .scheduler_state import JobState

__all__ = ["VERSION_PATIENCE_NS", "PythonVersions"]

# How long a job waits for a node of its Python while there are only others.
VERSION_PATIENCE_NS = 10_000_000_000


class PythonVersions:
    """Counts nodes and their slots by version, and jobs' patience."""

    def __init__(self) -> None:
        self._nodes: Counter[PythonVersion] = Counter()
        self._slots: Counter[PythonVersion] = Counter()
        self._all_slots = 0
        self._refused_at_ns: dict[int, int] = {}
        self._first_came_ns: int | None = None
        self._left_ns: dict[PythonVersion, int] = {}  # when the last node of a version went

    def slots(self, job: JobState) -> int:
        """How many slots could run the job; at least one."""
        return max(self._all_slots if job.python is None else self._slots[job.python], 1)

    def joined(self, python: PythonVersion, slots: int, now_ns: int) -> bool:
        """Count a node; whether it is the first of its version."""
        self._slots[python] += slots
        self._all_slots += slots
        if self._first_came_ns is None:
            self._first_came_ns = now_ns
        self._left_ns.pop(python, None)
        self._nodes[python] += 1
        return self._nodes[python] == 1

    def left(self, python: PythonVersion, slots: int, now_ns: int) -> bool:
        """Count a node off; whether it was the last of its version."""
        self._slots[python] -= slots
        self._all_slots -= slots
        self._nodes[python] -= 1
        if self._nodes[python]:
            return False
        del self._nodes[python], self._slots[python]
        recent = {
            gone: at_ns for gone, at_ns in self._left_ns.items() if now_ns - at_ns < VERSION_PATIENCE_NS
        }
        self._left_ns = recent | {python: now_ns}
        return True

    def can_run(self, job: JobState) -> bool:
        """Whether a node can run the job, or there is none at all and one may come that can."""
        return job.python is None or not self._nodes or job.python in self._nodes

    def may_come_back(self, job: JobState, now_ns: int) -> bool:
        """Whether nodes that could run the job may have lost the server, and be on their way back."""
        assert job.python is not None and self._first_came_ns is not None
        return now_ns - self._left_ns.get(job.python, self._first_came_ns) < VERSION_PATIENCE_NS

    def watch(self, jobs: Iterable[JobState], now_ns: int) -> int | None:
        """Look at the jobs again, now that versions came or went; when to look at their patience."""
        wake_ns = None
        for job in jobs:
            if self.can_run(job):
                self._refused_at_ns.pop(job.job, None)
            elif job.job not in self._refused_at_ns:
                wake_ns = self._refused_at_ns[job.job] = now_ns + VERSION_PATIENCE_NS
        return wake_ns

    def forget(self, job: int) -> None:
        """The job is gone."""
        self._refused_at_ns.pop(job, None)

    def overdue(self, now_ns: int) -> Iterator[int]:
        """Jobs whose patience has ended; those that are not forgotten come again."""
        while self._refused_at_ns:
            number, at_ns = next(iter(self._refused_at_ns.items()))
            if at_ns > now_ns:
                return
            yield number

    def reason(self, python: PythonVersion) -> str:
        """Why a job of this version is refused, and what to do."""
        theirs = [f"{major}.{minor}" for major, minor in sorted(self._nodes)]
        ours = f"{python[0]}.{python[1]}"
        return (
            f"the function travels by value, as bytecode of Python {ours}, but every node runs Python "
            f"{' or '.join(theirs)}: start a node with Python {ours}, run this program with Python "
            f"{theirs[0]}, or move the function into a module of its own (what is imported travels "
            f"as source and runs on any version)"
        )
