"""Which versions of Python the nodes run.

A function that travels by value is bytecode, which only its own minor version can run.
"""

from __future__ import annotations

from collections import Counter

from .scheduler_events import PythonVersion
from .scheduler_state import JobState

__all__ = ["VERSION_PATIENCE_NS", "PythonVersions"]

# How long a job waits for a node of its Python, or of what else it needs, while there are only others.
VERSION_PATIENCE_NS = 10_000_000_000


class PythonVersions:
    """Counts nodes and their slots by version."""

    def __init__(self) -> None:
        self._nodes: Counter[PythonVersion] = Counter()
        self._slots: Counter[PythonVersion] = Counter()
        self._all_slots = 0
        self._first_came_ns: int | None = None
        self._left_ns: dict[PythonVersion, int] = {}  # when the last node of a version went

    def task_slots(self, job: JobState) -> int:
        """How many tasks of the job all nodes that could run it can run at once; at least one."""
        if job.group is not None:
            return max(job.group.task_slots, 1)
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

    def can_run(self, python: PythonVersion | None) -> bool:
        """Whether a node runs this version, or there is none at all and one may come that does."""
        return python is None or not self._nodes or python in self._nodes

    def may_come_back(self, python: PythonVersion | None, now_ns: int) -> bool:
        """Whether nodes of this version may have lost the server, and be on their way back."""
        assert python is not None and self._first_came_ns is not None
        return now_ns - self._left_ns.get(python, self._first_came_ns) < VERSION_PATIENCE_NS

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
