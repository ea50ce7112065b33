"""The node's brain: which worker gets which part of which parcel.

What it knows: workers and what lies at each, jobs and how long their tasks take, parcels and which
of their results are in. What it must never know: processes, sockets, clocks, payloads.

Rules:

1. Jobs of a higher priority come first; equal ones take turns by the time they have used, that of a task
   of several slots once for each (`Levels`). Within a job, pieces run in the order in which they came.
2. A worker has one piece at hand, and more only while they are short (or, in a job whose tasks take
   about as long as each other, not very long): up to `QUEUE_NS` of work, so that it does not wait for
   the next one, and nothing waits behind something much longer. Workers with room are served in turn.
3. Results of a parcel are kept until it is complete, `FLUSH_BYTES` have gathered or `FLUSH_NS` have
   passed since some were sent (`LateResults`), then sent.
4. When a job reduces, a piece that holds whole packets is reduced by its worker. The results of a
   packet that is spread over workers are brought together at one of them for reducing.
5. When a worker dies, only the item it was running is charged with the death. What it had not
   reported is run again in up to three pieces: the items before, that item alone, the items after.
   An item that was charged `max_attempts` times is reported as the cause of death. While items are so short
   that a worker does not note each, nobody is charged, and they are run again singly.
6. A parcel that no worker has got anything of is given back when the server asks for it, or when
   this node is to leave; also later, when what workers had of it comes back whole.
7. When an item of a job with a limit has run longer than that, its worker is stopped and the item has failed,
   at once; nobody else is charged with that death. A worker is looked at no more often than once per limit.
8. When a job is forgotten or a parcel is abandoned, its waiting pieces vanish. A worker still busy
   with it after `CANCEL_GRACE_NS` is stopped. What it answers until then counts for nothing, even if
   the job's number is used again: a server that starts anew counts from the beginning.
9. A worker that is at a piece for too long gives back the rest of it at once, and what waits behind it. If it
   is still at the same item then, it answers for those before.
10. While a worker runs tasks that take several slots, so many others less one stay idle (`Placement`).
11. What waits at a worker that ends by itself runs elsewhere, and nobody is charged.
12. A worker that is idle while nothing waits may be lent for one call (`Lending`).
13. An item that is cancelled fails, unless it is done: one that waits is not run, and a worker that runs one
   is stopped (`CancelledItems`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import count

from . import slots_events as ev
from .cancelled_items import CancelledItems
from .cancelled_pieces import CANCEL_GRACE_NS, CancelledPieces
from .failing_items import FailingItems
from .kept_results import KeptResults
from .late_results import FLUSH_BYTES, FLUSH_NS
from .lending import Lending
from .levels import Levels
from .long_pieces import LongPieces
from .placement import Placement
from .roomy_workers import RoomyWorkers
from .slots_events import ParcelKey
from .slots_state import JobState, ParcelState, Piece, WorkerState, gather_packets
from .time_limits import TimeLimits

__all__ = ["CANCEL_GRACE_NS", "FLUSH_BYTES", "FLUSH_NS", "Slots"]


class Slots:
    """Decides for the workers of one node.

    Args:
        max_attempts: How many deaths an item may cause before it is reported.
    """

    def __init__(self, max_attempts: int = 3) -> None:
        self.max_attempts = max_attempts
        self.workers: dict[int, WorkerState] = {}
        self.jobs: dict[int, JobState] = {}
        self.parcels: dict[ParcelKey, ParcelState] = {}
        self.pieces: dict[int, Piece] = {}
        self._turns: Levels[int] = Levels()
        self._roomy = RoomyWorkers(self.workers)
        self._placement = Placement(self.jobs, self.workers, self._turns, self._roomy)
        self._lending = Lending(self.jobs, self.workers, self._turns, self._roomy)
        self._cancelled = CancelledPieces()
        self._long = LongPieces(self.workers, self.jobs, self._roomy, self._placement.is_pressed)
        self._next = count(1).__next__
        self._now_ns = 0
        self._limits = TimeLimits(self.jobs)
        self._unwanted = CancelledItems(self.workers, self.parcels)
        again = partial(self._queue, ahead=True)
        self._results = KeptResults(self.jobs, self.parcels, self.pieces, self._next, again, self._emit)
        self._failing = FailingItems(
            self.parcels, self.pieces, self._next, again, self._give_up, max_attempts
        )
        self._out: list[ev.Command] = []

    def handle(self, event: ev.Event) -> list[ev.Command]:
        """Take one fact in and return what is to be done about it, in order."""
        self._out = []
        self._now_ns = event.now_ns
        match event:
            case ev.PieceFinished():
                self._piece_finished(event)
            case ev.ParcelReceived():
                self._parcel_received(event)
            case ev.PieceCut():
                self._piece_cut(event)
            case ev.PartFinished():
                self._part_finished(event)
            case ev.WorkerAsked():
                return self._lending.handle(event)  # which makes no room for anything else
            case ev.WorkerReturned():
                self._lending.handle(event)
            case ev.JobIntroduced():
                self._job_introduced(event)
            case ev.ParcelAskedBack():
                self._give_back(event.key)
            case ev.DrainBegan():
                for key in list(self.parcels):
                    self._give_back(key, silent=True)
            case ev.ParcelAbandoned():
                self._abandon(event.key)
            case ev.JobForgotten():
                self._job_forgotten(event)
            case ev.WorkerStarted():
                self.workers[event.worker] = WorkerState(event.worker)
                self._roomy.note(self.workers[event.worker])
            case ev.WorkerDied():
                self._worker_died(event)
            case ev.WorkerLeaving():
                self._worker_leaving(event.worker)
            case ev.ItemCancelled():
                self._item_cancelled(event)
            case ev.WorkerSeen():
                self._worker_seen(event)
            case ev.TimePassed():
                self._time_passed(event.now_ns)
        self._assign()
        if self._roomy.idle > 0:
            self._wake_at(self._long.worker_idles(self._now_ns))
        return self._out

    def _job_introduced(self, event: ev.JobIntroduced) -> None:
        job = self.jobs[event.job] = JobState(event.job, event.reduces, limit_ns=event.limit_ns)
        job.priority, job.slots, job.chunksize = event.priority, event.slots, event.chunksize
        job.patient = event.patient
        if event.expected_ns is not None:
            job.expected_ns = event.expected_ns
        self._limits.jobs += event.limit_ns > 0
        self._placement.job_came(job)
        self._wake_at(self._long.job_came(self._now_ns))

    def _parcel_received(self, event: ev.ParcelReceived) -> None:
        job = self.jobs.get(event.job)
        if job is None:
            return
        key = (event.job, event.parcel, event.attempt)
        if key in self.parcels:
            return
        tasks = sum(event.units)
        parcel = ParcelState(key, event.first, tasks, event.packet_tasks, len(event.units), event.now_ns)
        self.parcels[key] = parcel
        job.parcels.add(key)
        if job.reduces:
            parcel.spread = gather_packets(event.first, event.units, event.packet_tasks)
        first = event.first
        loading_ns = event.size_bytes // max(len(event.units), 1)
        for number, length in enumerate(event.units):
            self._queue(job, Piece(self._next(), key, number, first, 0, length, loading_ns=loading_ns))
            first += length
        if job.early is not None:
            self._failing.cancel_early(job, key, len(event.units))
            self._note_waiting(job)

    def _give_back(self, key: ParcelKey, silent: bool = False) -> None:
        parcel = self.parcels.get(key)
        job = self.jobs.get(key[0])
        if parcel is None or job is None:
            return  # finished in the meantime; its results are the answer
        if not parcel.begun:
            self._drop_waiting(job, key)
            self._results.drop_parcel(parcel)
        parcel.wanted_back = True
        if not (parcel.begun and silent):
            self._out.append(ev.ReturnParcel(key, not parcel.begun))

    def _abandon(self, key: ParcelKey) -> None:
        parcel = self.parcels.get(key)
        job = self.jobs.get(key[0])
        if parcel is None or job is None:
            return
        self._drop_waiting(job, key)
        for piece in parcel.kept_pieces():
            self._results.drop_piece(piece)
        self._results.drop_parcel(parcel)
        for number in sorted(job.workers):
            worker = self.workers[number]
            self._out += self._cancelled.let_go(worker, lambda of: of == key, self._now_ns)

    def _drop_waiting(self, job: JobState, key: ParcelKey) -> None:
        for piece in job.waiting:
            if piece.key == key:
                self._results.drop_piece(piece)
        job.waiting = deque(piece for piece in job.waiting if piece.key != key)
        self._note_waiting(job)

    def _note_waiting(self, job: JobState) -> None:
        if not job.waiting:
            self._turns.deactivate(job.job)

    def _queue(self, job: JobState, piece: Piece, ahead: bool = False) -> None:
        if ahead and self.parcels[piece.key].cancelled and self._failing.fail_cancelled(job, piece):
            return
        self.pieces[piece.piece] = piece
        if ahead:
            job.waiting.appendleft(piece)
        else:
            job.waiting.append(piece)
        self._turns.activate(job.job)

    def _assign(self) -> None:
        """Give waiting pieces to workers with room."""
        while (found := self._placement.next()) is not None:
            job, worker = found
            piece = job.waiting.popleft()
            if not job.waiting:
                self._turns.deactivate(job.job)
            self._run(worker, job, piece)

    def _run(self, worker: WorkerState, job: JobState, piece: Piece) -> None:
        self.parcels[piece.key].begun = True
        piece.work_ns = job.work_of(piece.tasks)
        piece.is_short = job.is_short(piece)
        self._turns.serve(job.job, piece.work_ns * job.slots)
        worker.slots = job.slots
        worker.pieces.append(piece)
        worker.work_ns += piece.work_ns
        if job.job not in worker.jobs:
            worker.jobs.add(job.job)
            job.workers.add(worker.worker)
            self._out.append(ev.TeachJob(worker.worker, job.job))
        if piece.parts is None:
            parcel = self.parcels[piece.key]
            whole = job.reduces and parcel.packet_of(piece.first + piece.skip) not in parcel.spread
            piece.whole_tasks = max(parcel.packet_tasks, 1) if whole else 0
            piece.packet_tasks = piece.whole_tasks or job.loose_tasks
        self._out.append(piece.run_at(worker.worker))
        self._roomy.note(worker, served=True)
        if len(worker.pieces) == 1:
            self._begun(worker)
        else:
            self._wake_at(self._long.watch(worker, self._now_ns))

    def _begun(self, worker: WorkerState) -> None:
        """A worker has come to its first piece."""
        if self._limits.jobs:
            self._watch(worker)
        self._wake_at(self._long.began(worker, self._now_ns))

    def _emit(self, command: ev.Command) -> None:
        self._out.append(command)

    def _wake_at(self, at_ns: int | None) -> None:
        if at_ns is not None:
            self._out.append(ev.WakeAt(at_ns))

    def _piece_finished(self, event: ev.PieceFinished) -> None:
        worker = self.workers.get(event.worker)
        piece = self.pieces.get(event.piece)
        if worker is None or piece is None or not worker.pieces:
            return
        was_running = worker.pieces[0] is piece
        worker.take(piece)
        if worker.pieces and was_running:
            self._begun(worker)
        self._roomy.note(worker)
        job = self.jobs.get(piece.key[0])
        parcel = self.parcels.get(piece.key)
        if job is None or parcel is None:
            # Forgotten while it ran.
            self._results.drop_piece(piece)
            return
        self._turns.charge(job.job, (event.busy_ns - piece.work_ns) * job.slots)
        if event.tasks is not None and event.tasks < piece.tasks:
            if not event.tasks:
                piece.gave_back()
                self._queue(job, piece, ahead=True)
                self._came_back(job, parcel)
                return
            self._take_rest(job, piece, event.tasks)
        if piece.tasks and piece.parts is None:
            job.measure(piece.tasks, event.busy_ns)
            if job.is_misjudged():
                self._placement.judge_anew(job)
        piece.status = event.status
        piece.busy_us += event.busy_ns // 1000
        self._results.keep(job, parcel, piece, event.size_bytes, self._now_ns)

    def _part_finished(self, event: ev.PartFinished) -> None:
        """Rule 9: keep what a worker has done of a piece."""
        piece = self.pieces.get(event.piece)
        parcel = None if piece is None else self.parcels.get(piece.key)
        if piece is None or parcel is None or not 0 < event.tasks < piece.tasks:
            self._out.append(ev.DropPiece(event.piece))
            return
        job = self.jobs[piece.key[0]]
        done = piece.done_early(event.tasks, self._next())
        self.pieces[done.piece] = done
        self._out.append(ev.KeepPart(done.piece, piece.piece))
        self._turns.charge(job.job, event.busy_ns * job.slots)
        job.measure(done.tasks, event.busy_ns)
        done.status, done.busy_us = event.status, event.busy_ns // 1000
        self._results.keep(job, parcel, done, event.size_bytes, self._now_ns)

    def _came_back(self, job: JobState, parcel: ParcelState) -> None:
        """Rule 6: a piece came back as it went; perhaps its parcel can go."""
        parcel.begun = not parcel.is_untouched(job.deaths, map(self.workers.get, job.workers))
        if parcel.wanted_back and not parcel.begun:
            self._give_back(parcel.key)

    def _piece_cut(self, event: ev.PieceCut) -> None:
        piece = self.pieces.get(event.piece)
        if piece is not None and piece.key in self.parcels and event.tasks < piece.tasks:
            self._take_rest(self.jobs[piece.key[0]], piece, event.tasks, beside=1)

    def _take_rest(self, job: JobState, piece: Piece, done: int, beside: int = 0) -> None:
        """Rule 9: share out what a worker gave back."""
        piece.gave_back()
        # Its worker will be idle soon, if it is not by now.
        shares = 1 if job.waiting else self._roomy.idle // job.slots + beside
        for part in reversed(piece.cut_off(done, shares, self._next)):
            self._queue(job, part, ahead=True)

    def _worker_died(self, event: ev.WorkerDied) -> None:
        worker = self.workers.pop(event.worker, None)
        if worker is None:
            return
        self._roomy.lost(event.worker)
        for number in worker.jobs:
            if number in self.jobs:
                self.jobs[number].workers.discard(event.worker)
        # The first piece is the one that ran; the others only stood in the queue.
        for position in range(len(worker.pieces) - 1, -1, -1):
            piece = worker.pieces[position]
            job = self.jobs.get(piece.key[0])
            if job is None or piece.key not in self.parcels:
                self._results.drop_piece(piece)
            else:
                self._failing.lost(job, piece, worker, event, ran=not position)
        self._all_came_back(worker.pieces)

    def _all_came_back(self, pieces: Iterable[Piece]) -> None:
        for key in {piece.key: None for piece in pieces}:
            if key in self.parcels:
                self._came_back(self.jobs[key[0]], self.parcels[key])

    def _worker_leaving(self, number: int) -> None:
        """Rule 10: the first piece was run, the others were not begun."""
        worker = self.workers.get(number)
        if worker is None:
            return
        behind = worker.leave()
        self._roomy.note(worker)
        for piece in behind:
            if piece.key in self.parcels:
                self._queue(self.jobs[piece.key[0]], piece, ahead=True)
            else:
                self._results.drop_piece(piece)
        self._all_came_back(behind)

    def _item_cancelled(self, event: ev.ItemCancelled) -> None:
        """Rule 11: fail an item that waits; find out about one that is at a worker."""
        if (job := self.jobs.get(event.key[0])) is not None:
            if not self._failing.cancel(job, event.key, event.index):
                self._out += self._unwanted.look_for(event.key, event.index, job.workers, self._now_ns)
            self._note_waiting(job)

    def _give_up(self, job: JobState, part: Piece, report: ev.Report) -> None:
        part.status = 2
        self.pieces[part.piece] = part
        self._out.append(report)
        self._results.keep(job, self.parcels[part.key], part, 0, self._now_ns)

    def _job_forgotten(self, event: ev.JobForgotten) -> None:
        job = self.jobs.pop(event.job, None)
        if job is None:
            return
        self._placement.job_gone(job)
        self._limits.jobs -= job.limit_ns > 0
        waiting = list(job.waiting)
        for key in job.parcels:
            waiting += self.parcels[key].kept_pieces()
        for piece in waiting:
            self._results.drop_piece(piece)
        for key in job.parcels:
            del self.parcels[key]
            self._out.append(ev.DropParcel(key))
        for number in sorted(job.workers):
            worker = self.workers[number]
            worker.jobs.discard(event.job)
            self._out.append(ev.UnteachJob(number, event.job))
            self._out += self._cancelled.let_go(worker, lambda of: of[0] == event.job, self._now_ns)

    def _time_passed(self, now_ns: int) -> None:
        for worker, again_ns in self._cancelled.due(self.workers, now_ns):
            if again_ns is None:
                self._stop(worker)
            self._wake_at(again_ns)
        self._out += map(ev.LookAt, self._limits.due(self.workers.values(), now_ns))
        hand_back, look_at_ns = self._long.overdue(now_ns)
        self._out += hand_back
        self._wake_at(look_at_ns)
        self._results.send_late(now_ns)
        self._out += self._unwanted.due(now_ns)

    def _stop(self, worker: WorkerState) -> None:
        if not worker.stopping:
            worker.stopping = True
            self._roomy.note(worker)
            self._out.append(ev.StopWorker(worker.worker))

    def _watch(self, worker: WorkerState, since_ns: int | None = None) -> None:
        """Rule 7: have a worker looked at when its item may be overdue."""
        self._wake_at(self._limits.look_at(worker, self._now_ns, since_ns))

    def _worker_seen(self, event: ev.WorkerSeen) -> None:
        worker = self.workers.get(event.worker)
        if worker is None:
            return
        if self._unwanted.is_at(worker, event):
            self._stop(worker)
        since_ns = self._limits.begun_at(worker, event)
        if since_ns is None or not self._limits.is_over(worker, since_ns, event.now_ns):
            self._watch(worker, since_ns)
        elif event.running is not None:
            worker.overdue = (worker.pieces[0].piece, event.running)
            self._stop(worker)
