"""Items that fail by themselves: they killed their workers, ran too long, or nobody wants them any more.

Each is taken out of the piece that it came with, so that it fails alone: the items before and after it
are pieces of their own then, and run (again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from . import slots_events as ev
from .slots_state import JobState, ParcelState, Piece, WorkerState

__all__ = ["FailingItems"]


class FailingItems:
    """Takes items out of pieces, for the slots' brain.

    Args:
        parcels: All parcels, by key.
        pieces: All pieces, by number.
        number: Makes the number of a new piece.
        queue_ahead: Has a piece wait before all others of its job.
        give_up: Makes a piece's result an error.
        max_attempts: How many deaths an item may cause before it is reported.
    """

    def __init__(
        self,
        parcels: Mapping[ev.ParcelKey, ParcelState],
        pieces: dict[int, Piece],
        number: Callable[[], int],
        queue_ahead: Callable[[JobState, Piece], None],
        give_up: Callable[[JobState, Piece, ev.Report], None],
        max_attempts: int,
    ) -> None:
        self._parcels = parcels
        self._pieces = pieces
        self._number = number
        self._queue_ahead = queue_ahead
        self._give_up = give_up
        self._max_attempts = max_attempts

    def lost(
        self, job: JobState, piece: Piece, worker: WorkerState, died: ev.WorkerDied, *, ran: bool
    ) -> None:
        """A piece was lost with its worker, which ``ran`` it, or had it behind another."""
        if worker.overdue is not None and worker.overdue[0] == piece.piece:
            index = worker.overdue[1]
            self.fail(job, piece, index, ev.ReportTimeout(0, index, job.limit_ns))
        elif not ran or worker.stopping:
            self._queue_ahead(job, piece)
        elif died.exact or piece.singly:
            self._charge_death(job, piece, died.worker, died.running)
        else:
            # Some item of it. Next time it will be known which; until then it is known to have run.
            piece.singly = True
            job.deaths.setdefault(piece.first + piece.skip, 0)
            self._queue_ahead(job, piece)

    def _charge_death(self, job: JobState, piece: Piece, worker: int, running: int | None) -> None:
        """Blame the item that ran, run the others again."""
        start = piece.first + piece.skip
        if running is None or piece.parts is not None or not start <= running < start + piece.tasks:
            running = start
        deaths = job.deaths.get(running, 0) + 1
        job.deaths[running] = deaths
        for part in self._cut_out(job, piece, [running]):
            if deaths >= self._max_attempts and part.first + part.skip == running:
                del job.deaths[running]
                self._give_up(job, part, ev.ReportDeath(part.piece, worker, running, deaths, job.job))
            else:
                self._queue_ahead(job, part)

    def fail(
        self, job: JobState, piece: Piece, index: int, report: ev.ReportTimeout | ev.ReportCancelled
    ) -> None:
        """Have an item fail for this reason, run the others."""
        self._fail_all(job, piece, {index: report})

    def fail_cancelled(self, job: JobState, piece: Piece) -> bool:
        """Have the items fail that were cancelled of a piece, and run the others; False if none was."""
        unwanted = self._parcels[piece.key].cancelled
        if piece.parts is not None or not unwanted:
            return False
        start = piece.first + piece.skip
        if len(unwanted) > piece.tasks:
            here = filter(unwanted.__contains__, range(start, start + piece.tasks))
        else:
            here = filter(piece.holds, unwanted)
        reports = {index: ev.ReportCancelled(0, index) for index in here}
        if reports:
            self._fail_all(job, piece, reports)
        return bool(reports)

    def _fail_all(
        self, job: JobState, piece: Piece, reports: Mapping[int, ev.ReportTimeout | ev.ReportCancelled]
    ) -> None:
        parcel = self._parcels[piece.key]
        parcel.begun = True  # what has an answer does not go back
        for part in self._cut_out(job, piece, reports):
            report = reports.get(part.first + part.skip)
            if report is not None:
                if parcel.cancelled:
                    parcel.cancelled -= {report.index}
                report.piece = part.piece
                self._give_up(job, part, report)
            else:
                part.singly = piece.singly
                self._queue_ahead(job, part)

    def cancel(self, job: JobState, key: ev.ParcelKey, index: int) -> bool:
        """Note that an item was cancelled; True if it waited, and has failed."""
        parcel = self._parcels.get(key)
        if parcel is None:
            if job.early is None or job.early[0] != key:
                job.early = key, set()
            job.early[1].add(index)
            return False
        if not parcel.cancelled:
            parcel.cancelled = set()
        parcel.cancelled |= {index}
        place = next((place for place, piece in enumerate(job.waiting) if piece.is_for(key, index)), None)
        if place is None:
            return False
        job.waiting.rotate(-place)
        self.fail_cancelled(job, job.waiting.popleft())
        job.waiting.rotate(place)
        return True

    def cancel_early(self, job: JobState, key: ev.ParcelKey, units: int) -> None:
        """A parcel came, whose units wait behind all others: what was cancelled of it before has failed."""
        assert job.early is not None
        (of, indices), job.early = job.early, None
        if of != key:
            return
        self._parcels[key].cancelled = indices
        before = len(job.waiting) - units
        pieces = [job.waiting.pop() for _ in range(units)]  # the last one first
        for piece in pieces:
            self._queue_ahead(job, piece)
        job.waiting.rotate(-(len(job.waiting) - before))

    def _cut_out(self, job: JobState, piece: Piece, indices: Iterable[int]) -> Iterator[Piece]:
        """What replaces a piece so that some of its items stand alone; the last part first."""
        self._pieces.pop(piece.piece, None)
        if piece.parts is not None or piece.tasks <= 1:
            piece.piece = self._number()
            return iter([piece])
        edges: set[int] = set()
        for index in indices:
            edges |= {index, index + 1}
            if job.reduces:
                edges.update(self._parcels[piece.key].spread_packet(index))
        return reversed(piece.cut_at(edges, self._number))
