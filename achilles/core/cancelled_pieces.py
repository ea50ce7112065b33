"""Pieces of forgotten jobs that workers may still be busy with, and how long that is put up with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from .slots_state import WorkerState

__all__ = ["CANCEL_GRACE_NS", "CancelledPieces"]

CANCEL_GRACE_NS = 500_000_000


class CancelledPieces:
    """Who holds what nobody wants."""

    def __init__(self) -> None:
        self._held: deque[tuple[int, int, int]] = deque()  # until when, worker, piece

    def add(self, worker: int, pieces: Iterable[int], now_ns: int) -> int:
        """Note what a worker holds; returns when to look."""
        at_ns = now_ns + CANCEL_GRACE_NS
        self._held.extend((at_ns, worker, piece) for piece in pieces)
        return at_ns

    def due(
        self, workers: Mapping[int, WorkerState], now_ns: int
    ) -> Iterator[tuple[WorkerState, int | None]]:
        """Workers that are to be stopped; or, with a time, to be looked at again then."""
        while self._held and self._held[0][0] <= now_ns:
            _, number, piece = self._held.popleft()
            worker = workers.get(number)
            if worker is None or not any(held.piece == piece for held in worker.pieces):
                continue
            if worker.pieces[0].piece == piece:
                yield worker, None
            else:
                # Somebody else's piece runs before it.
                yield worker, self.add(number, [piece], now_ns)
