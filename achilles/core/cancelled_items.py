"""Items that were cancelled when a worker had them: whether it runs them, or will.

An item that waits here is taken out of its piece at once. One that lies at a worker may wait there, run, or
be done. Its worker is asked to give back what it has not begun of the piece: whatever comes back comes back
without the item. Until it does, the worker is looked at, ever less often, and stopped when it is at
the item. Its piece then comes back as well, and nobody is charged with that death.

A worker that reduces packets itself gives nothing back of the packet that it has begun, so it is stopped
when the item is still to come in that. One that runs short items notes only some of them, but notes exactly
where it is when it gives something back. If it does not hear that for a while, it is stuck at an item that
it did not note, and taken to be stuck at this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .record import Record
from .slots_events import Command, HandBack, LookAt, ParcelKey, WakeAt, WorkerSeen
from .slots_state import ParcelState, Piece, WorkerState

__all__ = ["LOOK_NS", "MOST_NOT_NOTED", "CancelledItems"]

# After that a worker is looked at again; then after twice as long, and so on.
LOOK_NS = 10_000_000
LONGEST_LOOK_NS = 320_000_000
# After so many looks, a worker that says where it is about will not say it better.
PATIENT_LOOKS = 5
# So many items may follow one that was noted without being noted (as `achilles.workers.running` has it).
MOST_NOT_NOTED = 1024


class _Held(Record):
    """A piece at a worker that has a cancelled item."""

    worker: int
    piece: int
    look_at_ns: int
    looks: int = 0


class CancelledItems:
    """Watches workers that have cancelled items.

    Args:
        workers: All workers, by number; kept by the slots' brain.
        parcels: All parcels, with what was cancelled of each.
    """

    def __init__(self, workers: Mapping[int, WorkerState], parcels: Mapping[ParcelKey, ParcelState]) -> None:
        self._workers = workers
        self._parcels = parcels
        self._held: list[_Held] = []

    def look_for(self, key: ParcelKey, index: int, workers: Iterable[int], now_ns: int) -> Iterator[Command]:
        """Find out about an item of a parcel, if one of these workers has it."""
        for number in sorted(workers):
            worker = self._workers[number]
            for piece in worker.pieces:
                if piece.is_for(key, index) and not worker.stopping:
                    if not any((held.worker, held.piece) == (number, piece.piece) for held in self._held):
                        self._held.append(_Held(number, piece.piece, now_ns + LOOK_NS))
                        yield WakeAt(now_ns + LOOK_NS)
                        if piece is not worker.pieces[0]:
                            yield HandBack(number, piece.piece)
                    yield from self._look(worker, piece)
                    return

    def due(self, now_ns: int) -> Iterator[Command]:
        """Look at those whose time has come."""
        if not self._held:
            return
        due = [held for held in self._held if held.look_at_ns <= now_ns]
        self._held = [held for held in self._held if held.look_at_ns > now_ns]
        for held in due:
            worker = self._workers.get(held.worker)
            pieces = [] if worker is None or worker.stopping else worker.pieces
            piece = next((piece for piece in pieces if piece.piece == held.piece), None)
            if worker is None or piece is None or piece.key not in self._parcels:
                continue  # it is known by now, or nobody asks any more
            held.looks += 1
            held.look_at_ns = now_ns + min(LOOK_NS << held.looks, LONGEST_LOOK_NS)
            self._held.append(held)
            yield WakeAt(held.look_at_ns)
            yield from self._look(worker, piece)

    def _look(self, worker: WorkerState, piece: Piece) -> Iterator[Command]:
        if piece is not worker.pieces[0]:
            return
        within = piece.has_slices and not worker.asked_within
        if within or (piece.divisible and not worker.asked_back):
            worker.asked_back, worker.asked_within = True, within
            yield HandBack(worker.worker, piece.piece, within)
        yield LookAt(worker.worker)

    def is_at(self, worker: WorkerState, seen: WorkerSeen) -> bool:
        """Whether the worker is to be stopped, for what it was seen to run."""
        piece = worker.pieces[0] if worker.pieces and not worker.stopping else None
        if piece is None or seen.running is None or seen.job != piece.key[0]:
            return False
        parcel = self._parcels.get(piece.key)
        held = next((one for one in self._held if one.piece == piece.piece), None)
        if parcel is None or held is None or not piece.holds(seen.running):
            return False
        to_come = [index for index in parcel.cancelled if index >= seen.running and piece.holds(index)]
        if seen.exact:
            return any(piece.packet_at(index) == piece.packet_at(seen.running) for index in to_come)
        if held.looks < PATIENT_LOOKS or min(to_come, default=MOST_NOT_NOTED + seen.running) >= (
            MOST_NOT_NOTED + seen.running
        ):
            return False
        piece.singly = True  # so that next time it is known
        return True
