"""Workers of a node that can take a piece, so that one is found at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from .slots_state import WorkerState

__all__ = ["RoomyWorkers"]


class RoomyWorkers:
    """The workers with nothing at hand, and those with room behind what they have.

    Of the idle ones so many are held, whichever they are, as tasks that run elsewhere take slots beside
    their own.

    Args:
        workers: All workers, by number; kept by the slots' brain.
    """

    def __init__(self, workers: Mapping[int, WorkerState]) -> None:
        self._workers = workers
        self._idle: OrderedDict[int, None] = OrderedDict()  # the longest idle first
        self._shallow: OrderedDict[int, None] = OrderedDict()  # the one served last comes last
        self._held_by: dict[int, int] = {}  # a worker that runs a task of several slots -> others it holds
        self._held = 0

    @property
    def idle(self) -> int:
        """How many workers have nothing to do, and may get something."""
        return max(len(self._idle) - self._held, 0)

    @property
    def holders(self) -> Iterable[int]:
        """The workers for whose tasks others are held."""
        return self._held_by

    def note(self, worker: WorkerState, *, served: bool = False) -> None:
        """Keep the lists true after a worker got something (``served``) or changed otherwise."""
        number = worker.worker
        is_idle = worker.is_free
        is_shallow = bool(worker.pieces) and not worker.stopping and worker.may_queue()
        if is_idle:
            self._idle[number] = None
        else:
            self._idle.pop(number, None)
        # What is left may be less than would fit behind one: so others with room get theirs first.
        if served or not is_shallow:
            self._shallow.pop(number, None)
        if is_shallow:
            self._shallow[number] = None
        if worker.slots > 1:
            self._hold(worker)

    def _hold(self, worker: WorkerState) -> None:
        """Hold others for what a worker runs; or let go of them, when it has nothing more."""
        self._let_go(worker.worker)
        if worker.pieces:
            self._held_by[worker.worker] = worker.slots - 1
            self._held += worker.slots - 1
        else:
            worker.slots = 1

    def _let_go(self, worker: int) -> None:
        self._held -= self._held_by.pop(worker, 0)

    def lost(self, worker: int) -> None:
        """A worker is gone."""
        self._idle.pop(worker, None)
        self._shallow.pop(worker, None)
        self._let_go(worker)

    def first_for(self, is_short: bool, slots: int = 1) -> WorkerState | None:
        """Who should get a piece now, whose tasks take so many slots.

        If it ``is_short``, it may wait behind another.
        """
        if len(self._idle) - self._held >= slots:
            return self._workers[next(iter(self._idle))]
        if is_short and self._shallow:
            return self._workers[next(iter(self._shallow))]
        return None
