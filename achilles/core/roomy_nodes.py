"""Nodes with room for any job's work, least recently served first, so that a job finds one at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice

from .scheduler_events import PythonVersion
from .scheduler_state import MAX_OPEN_DEMANDS, JobState, NodeState

__all__ = ["RoomyNodes"]


class RoomyNodes:
    """An index, by Python version, of the nodes that have room.

    Args:
        nodes: All nodes, by number; kept by the scheduler.
    """

    def __init__(self, nodes: Mapping[int, NodeState]) -> None:
        self._nodes = nodes
        self._by_python: dict[PythonVersion, OrderedDict[int, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_python)

    def note(self, node: NodeState) -> None:
        """Take a node in as the one served last; or out, when it has no room."""
        if node.draining or not node.has_room():
            self.lost(node)
        else:
            roomy = self._by_python.get(node.python)
            if roomy is None:
                roomy = self._by_python[node.python] = OrderedDict()
            roomy[node.node] = None
            roomy.move_to_end(node.node)

    def lost(self, node: NodeState) -> None:
        """Take a node out."""
        roomy = self._by_python.get(node.python)
        if roomy is not None:
            roomy.pop(node.node, None)
            if not roomy:
                del self._by_python[node.python]

    def first_for(self, job: JobState) -> NodeState | None:
        """A node with room that the job has not asked yet. It has asked few, so few are passed."""
        pythons = self._by_python if job.python is None else (job.python,)
        for python in pythons:
            for number in islice(self._by_python.get(python, ()), MAX_OPEN_DEMANDS + 1):
                if job.lost or number not in job.open_demands:
                    return self._nodes[number]
        return None
