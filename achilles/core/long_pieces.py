"""When a piece has run for so long that its worker should give back what it has not begun.

How long a task takes is a guess until it was run, and tasks of one job may differ a thousandfold. So a
unit may be cut too long, or wait behind one that turns out to be long. Nobody tells this brain how far a
worker is: that would cost something for each item. Instead the workers are looked at every `PATIENCE_NS`
while one of them has something to give back:

- A worker that has run a piece of several items for too long is asked to stop after the item that it is
  at: its results go on, and the rest is cut anew for whoever is free.
- One whose piece takes much longer than was expected when others were put behind it is asked for those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .slots_state import NOBODY, Piece, WorkerState

__all__ = ["LONGEST_PATIENCE_NS", "PATIENCE_NS", "LongPieces"]

# Several times the work that a unit should hold, so that one that is cut well is never asked.
PATIENCE_NS = 10_000_000
# What is left of a piece may run for twice as long before it is asked again, while nobody
# else could run: each time its arguments are sent and loaded again.
LONGEST_PATIENCE_NS = 1_280_000_000
# That is paid back when it runs for so many times as long, at about a byte per ns.
TIMES_LOADING = 16
# How many times longer than expected a piece may take before nothing waits behind it any more.
TIMES_EXPECTED = 2


class LongPieces:
    """Watches workers that have something to give back."""

    def __init__(self) -> None:
        self._look_at_ns = 0  # 0: nothing to look at

    def began(self, worker: WorkerState, now_ns: int) -> int | None:
        """A worker has come to its first piece. Returns when to look, if that was not known yet."""
        worker.began_ns = now_ns
        worker.asked_back = worker.is_late = False
        return self.watch(worker, now_ns)

    def watch(self, worker: WorkerState, now_ns: int) -> int | None:
        """A worker has got a piece. Returns when to look, if that was not known yet."""
        if self._look_at_ns or not (len(worker.pieces) > 1 or worker.pieces[0].divisible):
            return None
        self._look_at_ns = now_ns + PATIENCE_NS
        return self._look_at_ns

    def overdue(
        self, workers: Iterable[WorkerState], now_ns: int, pressed: Callable[[int], bool]
    ) -> tuple[list[tuple[WorkerState, Piece]], int | None]:
        """Which pieces are to be given back, and when to look again.

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
            if not worker.pieces or worker.stopping or worker.pieces[0].key == NOBODY:
                continue  # or it is stopped soon
            runs = worker.pieces[0]
            ran_ns = now_ns - worker.began_ns - runs.loading_ns * TIMES_LOADING
            if len(worker.pieces) > 1 and not worker.is_late:
                self._look_at_ns = now_ns + PATIENCE_NS
                if ran_ns >= PATIENCE_NS + TIMES_EXPECTED * runs.work_ns:
                    worker.is_late = True
                    found += [(worker, piece) for piece in _behind(worker)]
            if runs.divisible and not worker.asked_back:
                self._look_at_ns = now_ns + PATIENCE_NS
                if ran_ns >= (PATIENCE_NS if pressed(runs.key[0]) else max(PATIENCE_NS, runs.patience_ns)):
                    worker.asked_back = True
                    found.append((worker, runs))
        return found, self._look_at_ns or None


def _behind(worker: WorkerState) -> Iterator[Piece]:
    """What waits at a worker and could run elsewhere; the last first, so that it stays in order."""
    for position in range(len(worker.pieces) - 1, 0, -1):
        piece = worker.pieces[position]
        if piece.parts is None and piece.tasks and piece.key != NOBODY:
            yield piece
