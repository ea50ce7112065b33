"""Workers of a node that can take a piece, so that one is found at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from .slots_state import WorkerState

__all__ = ["RoomyWorkers"]


class RoomyWorkers:
    """The workers with nothing at hand, and those with room behind what they have.

    Args:
        workers: All workers, by number; kept by the slots' brain.
    """

    def __init__(self, workers: Mapping[int, WorkerState]) -> None:
        self._workers = workers
        self._idle: OrderedDict[int, None] = OrderedDict()  # the longest idle first
        self._shallow: OrderedDict[int, None] = OrderedDict()  # the one served last comes last

    @property
    def idle(self) -> int:
        """How many workers have nothing to do."""
        return len(self._idle)

    def note(self, worker: WorkerState, *, served: bool = False) -> None:
        """Keep the lists true after a worker got something (``served``) or changed otherwise."""
        number = worker.worker
        is_idle = not worker.stopping and not worker.pieces
        is_shallow = not worker.stopping and not is_idle and worker.may_queue()
        if is_idle:
            self._idle[number] = None
        else:
            self._idle.pop(number, None)
        # What is left may be less than would fit behind one: so others with room get theirs first.
        if served or not is_shallow:
            self._shallow.pop(number, None)
        if is_shallow:
            self._shallow[number] = None

    def lost(self, worker: int) -> None:
        """A worker is gone."""
        self._idle.pop(worker, None)
        self._shallow.pop(worker, None)

    def first_for(self, is_short: bool) -> WorkerState | None:
        """Who should get a piece now, which, if it ``is_short``, may wait behind another."""
        roomy = self._idle or (self._shallow if is_short else None)
        return self._workers[next(iter(roomy))] if roomy else None
