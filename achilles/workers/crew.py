"""The workers of one node, fed as `Slots` decides.

The body around the slots' brain: it owns the worker processes, the payloads of parcels that are not
complete, and results that wait for the rest of their parcel. It never decides and never unpickles.
A node runs it on Twisted's reactor, the embedded engine on its own loop.

Every worker that ends is replaced while the crew is open. One that ends before it was ready was
never any use, so its replacement waits longer each time. One that leaves has a while for what is to
be done at its exit.

Not thread-safe by itself: callers hold ``lock``, and so do the workers' reports.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol

from ..core import slots_events as ev
from ..core.slots import Slots
from ..sealed import Buffer, Payload, Sealed
from ..serialization import serialize_failure
from . import channel
from .deaths import failure_of
from .feeding import send_function, send_parts, send_unit
from .forwarding import Forwarding
from .given import Given
from .loan import Loan, Loans
from .loop import Loop
from .output import Label
from .supplies import Supplier, Supplies
from .together import together
from .worker import Worker

__all__ = ["Crew", "CrewListener", "ResultSegment"]

_log = logging.getLogger("achilles.workers")

# (first index, tasks, status, busy_us, payload)
ResultSegment = tuple[int, int, int, int, Buffer | Sealed]

RESTART_DELAY_S = 0.2
# Between SIGTERM and SIGKILL for a worker that is stopped.
STOP_GRACE_S = 1.0
# How long a worker that leaves may take before SIGTERM, and as long again before SIGKILL.
LEAVE_GRACE_S = 5.0
RESTART_DELAY_MAX_S = 10.0


class CrewListener(Supplier, Protocol):
    """Whoever sends the results on, and knows where modules and blobs come from."""

    def results_ready(self, job: int, parcel: int, attempt: int, segments: list[ResultSegment]) -> None:
        """These ranges of a parcel are done."""

    def parcel_returned(self, job: int, parcel: int, attempt: int, given: bool) -> None:
        """A parcel is given back untouched, or was begun and stays."""

    def output(self, job: int, stream: int, lines: bytes) -> None:
        """What items of a job printed, as whole tagged lines. ``stream``: 1 or 2."""


class Crew:
    """Starts, feeds, watches and ends ``cpu_count`` workers.

    Args:
        loop: Twisted's reactor, or a `SelectorLoop`.
        cpu_count: Number of workers.
        listener: Hears of results and of modules that workers want.
        sys_path: Where workers import from.
        own_modules: See `Worker`.
        node_name: How errors name this machine.
        tag: How lines that workers print name it.
        environment: More variables for the workers.
        lock: Held while workers report; the embedded engine's.
        blob_budget_bytes: How much of blobs may be kept here; None where that is no memory of its own.
    """

    def __init__(
        self,
        loop: Loop,
        cpu_count: int,
        listener: CrewListener,
        *,
        sys_path: Sequence[str],
        own_modules: Literal["local", "controller"] = "controller",
        node_name: str = "this machine",
        tag: str = "local",
        environment: Mapping[str, str] | None = None,
        lock: AbstractContextManager[Any] | None = None,
        max_attempts: int = 3,
        blob_budget_bytes: int | None = None,
    ) -> None:
        self.cpu_count = cpu_count
        self._loop = loop
        self._listener = listener
        self._sys_path = list(sys_path)
        self._own_modules: Literal["local", "controller"] = own_modules
        self._node_name = node_name
        self._environment = environment
        self._lock: AbstractContextManager[Any] = lock or nullcontext()
        self.loans = Loans(loop, self._locked, self._stop)
        self._forwarding = Forwarding(loop, tag, listener.output, self._locked, self.loans.listener)
        self._slots = Slots(max_attempts)
        self._workers: dict[int, Worker] = {}
        self._at_worker: dict[int, Given] = {}
        self._dead: dict[int, Worker] = {}
        self._early_deaths = 0
        self._functions: dict[int, list[Buffer]] = {}
        self._timed: set[int] = set()
        self._units: dict[ev.ParcelKey, Sequence[list[Buffer] | Sealed]] = {}
        self._kept: dict[int, Buffer | Sealed] = {}
        self._supplies = Supplies(self._workers, listener, loop, blob_budget_bytes)
        self.blobs, self.kept = self._supplies.blobs, self._supplies.kept
        self.module_arrived = self._supplies.module_arrived
        self._closing = False
        self._on_closed: list[Callable[[], None]] = []
        self._on_drained: Callable[[], None] | None = None

    def start(self) -> None:
        """Start all workers."""
        for slot in range(self.cpu_count):
            self._start_worker(slot)

    def introduce(
        self,
        job: int,
        function: list[Buffer],
        session: str,
        reduces: bool,
        *,
        quiet: bool = False,
        limit_ms: int = 0,
        priority: int = 0,
        slots: int = 1,
        chunksize: int = 1,
        patient: bool = False,
        expected_ns: float | None = None,
    ) -> None:
        """Make a job's function known.

        Args:
            job: Its number.
            function: The serialized function.
            session: Names the process whose modules it imports.
            reduces: Whether it has a reducer.
            quiet: Nobody wants to see what it prints.
            limit_ms: How long an item may run, 0 for ever.
            priority: Jobs of a higher one run first.
            slots: How many an item takes.
            chunksize: A unit is given back only between so many items.
            patient: Nobody sees a result before the last is there.
            expected_ns: How long an item takes, if known.
        """
        if limit_ms:
            self._timed.add(job)
        self._functions[job] = function
        if not quiet:
            self._forwarding.want(job)
        self._supplies.job_came(job, session)
        facts = (reduces, limit_ms * 1_000_000, priority, slots, chunksize, patient, expected_ns)
        self._tell(ev.JobIntroduced(time.monotonic_ns(), job, *facts))

    def receive(
        self,
        job: int,
        parcel: int,
        attempt: int,
        first: int,
        packet_tasks: int,
        unit_tasks: list[int],
        units: Sequence[list[Buffer] | Sealed],
        size_bytes: int,
    ) -> None:
        """Take a parcel in: the length of each unit, each unit's serialized arguments, their size in all."""
        if job not in self._functions or (job, parcel, attempt) in self._units:
            return
        self._units[job, parcel, attempt] = units
        work = (job, parcel, attempt, first, unit_tasks, packet_tasks, size_bytes)
        self._tell(ev.ParcelReceived(time.monotonic_ns(), *work))

    def lend(self, job: int) -> Loan | None:
        """An idle worker for one call of a job's function, to be made at once; None if none can be spared."""
        if self._on_drained is None:
            self._tell(ev.WorkerAsked(time.monotonic_ns(), job))
        return self.loans.take_new()

    def forget(self, job: int) -> None:
        """Drop all that is here of a job; workers busy with it are stopped soon."""
        self._functions.pop(job, None)
        self._forwarding.forget(job)
        self._timed.discard(job)
        self._supplies.job_went(job)
        self.loans.forget(job)
        self._tell(ev.JobForgotten(time.monotonic_ns(), job))

    def give_up(self, parcel: ev.ParcelKey, *, begun: bool) -> None:
        """Drop a parcel; or give it back if it was not ``begun``: `CrewListener.parcel_returned` tells."""
        self._tell((ev.ParcelAbandoned if begun else ev.ParcelAskedBack)(time.monotonic_ns(), parcel))

    def cancel_item(self, parcel: ev.ParcelKey, index: int) -> None:
        """Have an item fail as cancelled, unless it is done."""
        self._tell(ev.ItemCancelled(time.monotonic_ns(), parcel, index))

    def drain(self, on_drained: Callable[[], None]) -> None:
        """Give back what was not begun, and lend nobody; call back when the rest is done."""
        self._on_drained = on_drained
        self._tell(ev.DrainBegan(time.monotonic_ns()))

    def close(self, grace_s: float, on_closed: Callable[[], None]) -> None:
        """End all workers; call back when the last is gone."""
        self._closing = True
        self._supplies.close()
        self._on_closed.append(on_closed)
        for worker in list(self._workers.values()):
            worker.close(grace_s)
        self._closed_if_empty()

    def kill(self) -> None:
        """End all workers at once, for a process that cannot wait."""
        self._closing = True
        for worker in list(self._workers.values()):
            worker.kill()

    @property
    def pids(self) -> list[int]:
        """Process numbers."""
        return [worker.pid for worker in self._workers.values()]

    def _start_worker(self, slot: int) -> None:
        if self._closing:
            return
        worker = Worker(
            self._loop,
            slot,
            self,
            self._sys_path,
            slots=self.cpu_count,
            own_modules=self._own_modules,
            environment=self._environment,
            output=self,
        )
        try:
            worker.start()
        except OSError as error:
            _log.error("worker %d could not be started: %s", slot, error)
            self._restart_later(slot)
            return
        self._workers[slot] = worker
        self._at_worker[slot] = Given()

    def _restart_later(self, slot: int) -> None:
        delay_s = min(RESTART_DELAY_S * 2.0**self._early_deaths, RESTART_DELAY_MAX_S)
        self._early_deaths += 1
        self._loop.callLater(delay_s, self._locked(lambda: self._start_worker(slot)))

    def worker_ready(self, worker: Worker) -> None:
        """A worker waits for its first piece."""
        with self._lock:
            self._early_deaths = 0
            self._tell(ev.WorkerStarted(time.monotonic_ns(), worker.slot))

    def worker_message(
        self, worker: Worker, kind: int, status: int, job: int, a: int, b: int, c: int, payload: Payload
    ) -> None:
        """A worker answered or wants a module."""
        with self._lock:
            if kind == channel.RESULT:
                worker.unit_over(job, a, b)
                self._forwarding.unit_over(worker.slot)
                self.kept.unit_over(worker.slot)
                if self.loans.over(worker.slot, (status, c, payload)):
                    self._tell(ev.WorkerReturned(time.monotonic_ns(), worker.slot, c))
                else:
                    self._answered(worker, job, a, (status, c, len(payload), b), payload)
            elif kind == channel.EARLY_RESULT:
                self._forwarding.unit_over(worker.slot)
                self.kept.unit_over(worker.slot)
                self._answered(worker, job, a, (status, c, len(payload), b), payload, early=True)
            elif kind == channel.UNBEGUN:
                self._unbegun(worker.slot, a, b)
            elif kind == channel.LAST_RESULT:
                self._tell(ev.WorkerLeaving(time.monotonic_ns(), worker.slot))
                self.worker_message(worker, channel.RESULT, status, job, a, b, c, payload)
                self._at_worker[worker.slot] = Given()
                worker.close(LEAVE_GRACE_S)
            else:
                self._supplies.asked(worker, kind, job, a, b, c, payload)

    def _unbegun(self, slot: int, unit: int, tasks: int) -> None:
        """A worker runs no more of a unit than so many tasks."""
        given = self._at_worker[slot]
        piece = given.piece_of(unit) if tasks else given.unbegun(unit)
        if piece is None:
            return
        if tasks:
            self._tell(ev.PieceCut(time.monotonic_ns(), slot, piece, tasks))
        else:
            self._tell(ev.PieceFinished(time.monotonic_ns(), slot, piece, 0, 0, 0, 0))

    def _answered(
        self,
        worker: Worker,
        job: int,
        first: int,
        answer: tuple[int, int, int, int],
        payload: Payload,
        early: bool = False,
    ) -> None:
        given = self._at_worker[worker.slot]
        piece = given.answered_early(job, first, answer[3]) if early else given.answered(job, first)
        if piece is None:
            _log.error("%r answered what it was not asked; it is ended", worker)
            worker.kill()
            return
        self._kept[piece] = payload
        self._tell(
            (ev.PartFinished if early else ev.PieceFinished)(time.monotonic_ns(), worker.slot, piece, *answer)
        )

    def worker_printed(
        self, worker: Worker, stream: int, label: Label, lines: bytes, dropped_bytes: int
    ) -> None:
        """A worker wrote to its standard output or error."""
        with self._lock:
            self._forwarding.heard(worker.slot, stream, label, lines, dropped_bytes)

    def whose_output(self, worker: Worker) -> Label | None:
        """The item a worker runs, or the last one of the unit whose results are on their way."""
        with self._lock:
            given = self._at_worker.get(worker.slot)
            piece = self._slots.pieces.get(given.first() or 0) if given else None
            if piece is None:
                return self.loans.label(worker.slot)
            first = piece.first + piece.skip
            index = abs(worker.progress()) - 1
            if not first <= index < first + piece.tasks:
                index = first + max(piece.tasks, 1) - 1
            return piece.key[0], index

    def worker_died(self, worker: Worker, exit_code: int) -> None:
        """A worker is gone; all it had written was heard before."""
        with self._lock:
            self._forwarding.unit_over(worker.slot)
            del self._workers[worker.slot], self._at_worker[worker.slot]
            self.loans.over(worker.slot, None)
            self._supplies.worker_gone(worker.slot)
            self._dead[worker.slot] = worker
            noted = worker.progress()
            running = abs(noted) - 1 if noted else None
            self._tell(ev.WorkerDied(time.monotonic_ns(), worker.slot, running, noted >= 0))
            if self._closing:
                self._closed_if_empty()
            elif worker.ready:
                self._start_worker(worker.slot)
            else:
                why = worker.slot, exit_code, worker.last_stderr()
                _log.error("worker %d ended before it was ready, exit code %d: %s", *why)
                self._restart_later(worker.slot)

    def _closed_if_empty(self) -> None:
        if not self._workers:
            waiting, self._on_closed = self._on_closed, []
            for on_closed in waiting:
                on_closed()

    def _tell(self, event: ev.Event) -> None:
        for command, more in together(self._slots.handle(event)):
            self._obey(command, more)
        if self._on_drained is not None and not self._slots.parcels and not self.loans:
            on_drained, self._on_drained = self._on_drained, None
            on_drained()

    def _obey(self, command: ev.Command, more: bool) -> None:
        match command:
            case ev.RunPiece():
                first = command.first + command.skip
                self._at_worker[command.worker].add(command.piece, command.key[0], first)
                unit = self._units[command.key][command.unit]
                send_unit(self._workers[command.worker], command, unit, more)
            case ev.LendWorker():
                self._at_worker[command.worker].count()
                self.loans.make(self._workers[command.worker], command.job)
            case ev.HandBack():
                number = self._at_worker[command.worker].unit_of(command.piece)
                if number is not None:
                    self._workers[command.worker].hand_back(number, command.within)
            case ev.SendResults():
                segments: list[ResultSegment] = [
                    (first, tasks, status, busy_us, self._kept[piece])
                    for piece, first, tasks, status, busy_us in command.segments
                ]
                self._listener.results_ready(*command.key, segments)
            case ev.KeepPart():
                self._kept[command.piece] = self._kept.pop(command.of)
            case ev.DropPiece():
                self._kept.pop(command.piece, None)
            case ev.DropParcel():
                self._units.pop(command.key, None)
            case ev.TeachJob():
                facts = self._supplies.session_of(command.job), command.job in self._timed
                send_function(
                    self._workers[command.worker], command.job, *facts, self._functions[command.job]
                )
            case ev.UnteachJob():
                if (worker := self._workers.get(command.worker)) is not None:
                    worker.forget(command.job)
            case ev.RunReduce():
                self._at_worker[command.worker].add(command.piece, command.key[0], command.first)
                parts = [self._kept[piece] for piece in command.parts]
                send_parts(self._workers[command.worker], command, parts)
            case ev.ReturnParcel():
                self._listener.parcel_returned(*command.key, command.given)
            case ev.ReportDeath() | ev.ReportTimeout() | ev.ReportCancelled():
                error = failure_of(command, self._node_name, self._dead)
                self._kept[command.piece] = serialize_failure(error, command.index)
            case ev.LookAt():
                self._loop.callLater(0.0, self._look_at, command.worker)
            case ev.StopWorker():
                self._stop(command.worker)
            case ev.WakeAt():
                delay_s = max(0.0, (command.at_ns - time.monotonic_ns()) / 1e9)
                self._loop.callLater(delay_s, self._wake)

    def _locked(self, call: Callable[[], None]) -> Callable[[], None]:
        def locked() -> None:
            with self._lock:
                call()

        return locked

    def _wake(self) -> None:
        with self._lock:
            self._tell(ev.TimePassed(time.monotonic_ns()))

    def _look_at(self, slot: int) -> None:
        with self._lock:
            if (worker := self._workers.get(slot)) is not None:
                job, number, since_ns = worker.running_since()
                running = abs(number) - 1 if number else None
                self._tell(ev.WorkerSeen(time.monotonic_ns(), slot, job, running, since_ns, number >= 0))

    def _stop(self, slot: int) -> None:
        if (worker := self._workers.get(slot)) is not None:
            worker.terminate()
            self._loop.callLater(STOP_GRACE_S, worker.kill)
