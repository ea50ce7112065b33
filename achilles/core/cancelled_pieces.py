"""Pieces of forgotten jobs that workers may still be busy with, and how long that is put up with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from .slots_events import Command, HandBack, ParcelKey, WakeAt
from .slots_state import NOBODY, WorkerState

__all__ = ["CANCEL_GRACE_NS", "CancelledPieces"]

CANCEL_GRACE_NS = 500_000_000


class CancelledPieces:
    """Who holds what nobody wants."""

    def __init__(self) -> None:
        self._held: deque[tuple[int, int, int]] = deque()  # until when, worker, piece

    def let_go(
        self, worker: WorkerState, unwanted: Callable[[ParcelKey], bool], now_ns: int
    ) -> Iterator[Command]:
        """Nobody wants a worker's pieces of such parcels any more: it is to begin nothing more of them."""
        pieces = [piece for piece in worker.pieces if unwanted(piece.key)]
        for piece in pieces:
            piece.key = NOBODY
            if piece.parts is None and piece.tasks:
                yield HandBack(worker.worker, piece.piece, within=True)
        if pieces:
            # Any of them may be the one that does not end.
            yield WakeAt(self._add(worker.worker, [piece.piece for piece in pieces], now_ns))

    def _add(self, worker: int, pieces: list[int], now_ns: int) -> int:
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
                yield worker, self._add(number, [piece], now_ns)
