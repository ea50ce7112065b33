"""Results of pieces, from when a worker has answered until they are sent with others of their parcel."""

from __future__ import annotations

from collections.abc import Callable

from .late_results import FLUSH_NS, PATIENT_FLUSH_NS, LateResults
from .slots_events import Command, DropParcel, DropPiece, ParcelKey, SendResults, WakeAt
from .slots_state import JobState, ParcelState, Piece

__all__ = ["KeptResults"]


class KeptResults:
    """Keeps results with their parcels, has packets brought together for reducing, and sends.

    Args:
        jobs: All jobs, by number; kept by the slots' brain, as all of these.
        parcels: All parcels, by key.
        pieces: All pieces, by number.
        number: Makes the number of a new piece.
        queue_ahead: Has a piece wait before all others of its job.
        emit: Takes commands.
    """

    def __init__(
        self,
        jobs: dict[int, JobState],
        parcels: dict[ParcelKey, ParcelState],
        pieces: dict[int, Piece],
        number: Callable[[], int],
        queue_ahead: Callable[[JobState, Piece], None],
        emit: Callable[[Command], None],
    ) -> None:
        self._jobs = jobs
        self._parcels = parcels
        self._pieces = pieces
        self._number = number
        self._queue_ahead = queue_ahead
        self._emit = emit
        self._late = LateResults(parcels)

    def keep(self, job: JobState, parcel: ParcelState, piece: Piece, size_bytes: int, now_ns: int) -> None:
        """Store a finished piece with its parcel, reduce or send what that completes."""
        packet = parcel.gather(piece)
        if packet is None:
            for number in piece.parts or ():
                self.drop_piece(self._pieces[number])
            parcel.done.append(piece)
            parcel.missing_tasks -= piece.tasks
            parcel.missing_empty -= not piece.tasks
        elif not packet:
            return  # more of it is to come
        elif all(part.status < 2 for part in packet):
            self._queue_ahead(job, parcel.brought_together(packet, self._number()))
            return
        else:
            parcel.done += packet
            parcel.missing_tasks -= sum(part.tasks for part in packet)
        # Failures, and what teaches the others how long tasks take, are soon told to whoever is patient.
        patient = job.patient and job.has_answered and not piece.status
        patience_ns = PATIENT_FLUSH_NS if patient else FLUSH_NS
        send, look_at_ns = self._late.to_send(parcel, size_bytes, patience_ns, now_ns)
        self._wake_at(look_at_ns)
        if send:
            self._send(parcel, now_ns)

    def send_late(self, now_ns: int) -> None:
        """Send what has waited for long enough."""
        late_parcels, send_at_ns = self._late.take_due(now_ns)
        for parcel in late_parcels:
            self._send(parcel, now_ns)
        self._wake_at(send_at_ns)

    def _wake_at(self, at_ns: int | None) -> None:
        if at_ns is not None:
            self._emit(WakeAt(at_ns))

    def _send(self, parcel: ParcelState, now_ns: int) -> None:
        self._late.sent(parcel.key)
        parcel.sent_ns = now_ns
        if (job := self._jobs.get(parcel.key[0])) is not None:
            job.has_answered = True
        self._emit(SendResults(parcel.key, parcel.segments()))
        for piece in parcel.done:
            self.drop_piece(piece)
        parcel.done = []
        parcel.kept_bytes = 0
        if parcel.is_complete:
            self.drop_parcel(parcel)

    def drop_piece(self, piece: Piece) -> None:
        """Forget a piece, and what is kept of it."""
        if self._pieces.pop(piece.piece, None) is not None:
            self._emit(DropPiece(piece.piece))

    def drop_parcel(self, parcel: ParcelState) -> None:
        """Forget a parcel, of which no piece is left."""
        del self._parcels[parcel.key]
        job = self._jobs.get(parcel.key[0])
        if job is not None:
            job.parcels.discard(parcel.key)
        self._emit(DropParcel(parcel.key))
