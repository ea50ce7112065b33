"""When a piece has run for so long that its worker should give back what it has not begun.

How long a task takes is a guess until it was run, and tasks of one job may differ a thousandfold. So a
unit may be cut too long. Nobody tells this brain how far a worker is: that would cost something for
each item. Instead the workers are looked at every `PATIENCE_NS` while one of them runs a piece of
several items. One that has run it for too long is asked to stop after the item that it is at:
its results go on, and the rest is cut anew for whoever is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .slots_state import NOBODY, WorkerState

__all__ = ["LONGEST_PATIENCE_NS", "PATIENCE_NS", "LongPieces"]

# Several times the work that a unit should hold, so that one that is cut well is never asked.
PATIENCE_NS = 10_000_000
# What is left of a piece may run for twice as long before it is asked again, while nobody
# else could run: each time its arguments are sent and loaded again.
LONGEST_PATIENCE_NS = 1_280_000_000
# That is paid back when it runs for so many times as long, at about a byte per ns.
TIMES_LOADING = 16


class LongPieces:
    """Watches the pieces of several items that workers run."""

    def __init__(self) -> None:
        self._look_at_ns = 0  # 0: nothing to look at

    def began(self, worker: WorkerState, now_ns: int) -> int | None:
        """A worker has come to its first piece. Returns when to look, if that was not known yet."""
        worker.began_ns = now_ns
        worker.asked_back = False
        if self._look_at_ns or not worker.pieces[0].divisible:
            return None
        self._look_at_ns = now_ns + PATIENCE_NS
        return self._look_at_ns

    def overdue(
        self, workers: Iterable[WorkerState], now_ns: int, pressed: Callable[[int], bool]
    ) -> tuple[list[WorkerState], int | None]:
        """The workers that are to give back what they have not begun, and when to look again.

        Args:
            workers: All of them.
            now_ns: The time.
            pressed: Whether somebody else could run, or wants to run, while this job's piece does.
        """
        if not 0 < self._look_at_ns <= now_ns:
            return [], None
        self._look_at_ns = 0
        found = []
        for worker in workers:
            if not worker.pieces or worker.stopping or worker.asked_back or not worker.pieces[0].divisible:
                continue
            self._look_at_ns = now_ns + PATIENCE_NS
            piece = worker.pieces[0]
            if piece.key == NOBODY:
                continue  # its worker is stopped soon
            patience_ns = PATIENCE_NS if pressed(piece.key[0]) else max(PATIENCE_NS, piece.patience_ns)
            if now_ns - worker.began_ns >= patience_ns + piece.loading_ns * TIMES_LOADING:
                worker.asked_back = True
                found.append(worker)
        return found, self._look_at_ns or None
