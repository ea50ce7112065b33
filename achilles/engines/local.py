"""The embedded engine: this machine's cores, no server and no socket to the outside.

The three brains meet in one process: a job's `Submission` in the caller's threads, `Scheduler` and,
within a `Crew`, `Slots` under the engine's lock. The workers' pipes are served by a loop in a daemon
thread, or by a caller who waits for results; arguments are written to them straight from the thread
that drew them.

There is one engine for all calls of a process, and one for each pool. The first starts at the first call,
keeps its workers between calls and ends with the process. After a fork the child gets an engine of its own
when it needs one.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import blobs
from ..core import scheduler_events as ev
from ..core.node_names import NamePatterns, listed
from ..core.scheduler import Scheduler
from ..errors import NoNodesError
from ..sealed import Buffer, Sealed, mapped
from ..workers import loading
from ..workers.cores import available_cores
from ..workers.crew import Crew, ResultSegment
from ..workers.loan import Loan
from ..workers.loop import SelectorLoop
from ..workers.module_source import find_source
from .drawing import Draw
from .job import Job
from .outcomes import Segment
from .spec import JobSpec

if TYPE_CHECKING:
    from .keeping import LocalKeeper

__all__ = ["LocalEngine", "local_engine"]

NODE = 0
# All jobs of the embedded engine import the modules of this one process.
SESSION = "local"
CLOSE_GRACE_S = 1.0
CLOSE_TIMEOUT_S = 5.0


class LocalEngine:
    """Runs jobs on worker processes of this machine.

    Args:
        cpu_count: Number of workers; this process's cores by default.
    """

    alone = lends = True
    keeps: bool = True

    def __init__(self, cpu_count: int | None = None) -> None:
        self.cpu_count = cpu_count or available_cores()
        self._lock = threading.RLock()
        self._loop = SelectorLoop("achilles-local")
        self._scheduler = Scheduler()
        self._jobs: dict[int, Job] = {}
        self._serial = 0
        self._events: deque[tuple[ev.Event, Draw | list[Segment] | None]] = deque()
        self._telling = False
        self._closed = False
        self._crew = Crew(
            self._loop,
            self.cpu_count,
            self,
            sys_path=[path or os.getcwd() for path in sys.path],
            own_modules="local",
            lock=self._lock,
        )
        _keep_track(self)
        self._loop.start()
        with self._lock:
            self._crew.start()
            joined = ev.NodeJoined(
                time.monotonic_ns(), NODE, self.cpu_count, sys.version_info[:2], alone=True
            )
            joined.names = _names()
            self._tell(joined)

    def submit(self, job: Job) -> None:
        """Take a job on.

        Raises:
            NoNodesError: This machine is not among those that it may run on, or too small for a task of it.
        """
        self._check_needs(job.spec)
        loading.check()
        with self._lock:
            if self._closed:
                raise RuntimeError("the engine is closed, or this process is ending: no new job can start")
            self._serial += 1
            job.number = self._serial
            self._jobs[job.number] = job
            spec = job.spec
            submitted = ev.JobSubmitted(time.monotonic_ns(), job.number, 0, spec.slice_tasks)
            submitted.most_bytes, submitted.tasks = spec.budget_bytes, job.tasks_left
            submitted.priority, submitted.slots = spec.priority, spec.slots
            submitted.expected_ns = job.expected_ns
            self._tell(submitted)

    def _check_needs(self, spec: JobSpec) -> None:
        if spec.nodes and not NamePatterns(spec.nodes).match(_names()):
            raise NoNodesError(
                f"this machine, {' or '.join(_names())}, matches none of {listed(spec.nodes, '`')}, and the "
                f"embedded engine runs on no other: give the address of a server that has such nodes"
            )
        if spec.slots > self.cpu_count:
            raise NoNodesError(
                f"a task needs {spec.slots} slots, and this machine has {self.cpu_count}: ask for fewer, or "
                f"give the address of a server with larger nodes"
            )

    def send_parcel(
        self, job: Job, parcel: int, attempt: int, node: int, draw: Draw, cancelled: Sequence[int] = ()
    ) -> None:
        """Give a parcel to the workers."""
        with self._lock:
            now_ns = time.monotonic_ns()
            for index in cancelled:
                self._tell(ev.ItemCancelled(now_ns, job.number, parcel, attempt, index))
            place = (job.number, parcel, node, draw.tasks, draw.size_bytes, attempt, draw.first)
            self._tell(ev.ParcelArrived(now_ns, *place, last=draw.ended), draw)

    def end_input(self, job: Job) -> None:
        """No more parcels will come."""
        with self._lock:
            known = self._scheduler.jobs.get(job.number)
            if known is not None and not known.input_ended:  # else the last parcel said so
                self._tell(ev.InputEnded(time.monotonic_ns(), job.number))

    def cancel(self, job: Job) -> None:
        """Drop a job, soon. At any moment: the garbage collector may be at work in the middle of anything."""
        if self._jobs.pop(job.number, None) is not None:  # else done, or the parent's of a fork
            self._loop.callFromThread(self._drop, job.number)

    def _drop(self, number: int) -> None:
        with self._lock:
            self._tell(ev.JobCancelled(time.monotonic_ns(), number))

    def cancel_item(self, job: Job, parcel: int, attempt: int, index: int) -> None:
        """Have an item fail, unless it is done."""
        with self._lock:
            self._tell(ev.ItemCancelled(time.monotonic_ns(), job.number, parcel, attempt, index))

    def lend(self, job: Job) -> Loan | None:
        """An idle worker for one call of the job."""
        with self._lock:
            return None if job.number not in self._jobs else self._crew.lend(job.number)

    def give_up_loan(self, loan: Loan) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._crew.loans.give_up(loan)

    def keeper(self, job: Job) -> LocalKeeper:
        """Who gets at what workers keep."""
        from .keeping import LocalKeeper  # what an undisturbed call can do without

        return LocalKeeper(self)

    def find_kept(self, name: str) -> Buffer | Sealed | None:
        """A value that is kept here."""
        # No lock: another engine asks while it holds its own.
        return self._crew.kept.find(SESSION, name)

    def release_kept(self, name: str) -> None:
        """Nobody needs that value any more. At any moment."""
        self._loop.callFromThread(self._drop_kept, name)

    def _drop_kept(self, name: str) -> None:
        with self._lock:
            self._crew.kept.drop(SESSION, name)

    def release(self) -> None:
        """The workers stay for the next call."""
        self._loop.let_go()

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Hear the workers in this thread, in place of the loop's."""
        return self._loop.pump(patience_s, wanted)

    def lead(self) -> None:
        """Keep the loop's thread from hearing the workers until this one pumps."""
        self._loop.lead()

    def let_go(self) -> None:
        """Leave the workers to the loop's thread."""
        self._loop.let_go()

    def no_nodes_reason(self) -> str:
        """The embedded engine is its own node."""
        return "The embedded engine has no workers."

    def results_ready(self, job: int, parcel: int, attempt: int, segments: list[ResultSegment]) -> None:
        """The crew finished some ranges (called with the lock held)."""
        facts = [segment[:4] for segment in segments]
        arrived = ev.ResultsArrived(time.monotonic_ns(), NODE, job, parcel, attempt, facts)
        self._tell(arrived, [(*segment[:4], mapped(segment[4])) for segment in segments])

    def parcel_returned(self, job: int, parcel: int, attempt: int, given: bool) -> None:
        """There is no other node that could want it back."""

    def output(self, job: int, stream: int, lines: bytes) -> None:
        """Tasks of a job printed something (called with the lock held)."""
        known = self._jobs.get(job)
        if known is not None:
            known.output(stream, lines)

    def module_wanted(self, job: int, request: int, name: str) -> None:
        """A worker imports what its own path does not have; this process may."""
        self._loop.callFromThread(self._serve_module, request, name)

    def blob_wanted(
        self, job: int, request: int, sha256: str, total_bytes: int, start: int, size_bytes: int
    ) -> None:
        """A worker uses a broadcast object; this process may have it, and always has the whole."""
        blobs.hand_out(
            sha256,
            total_bytes,
            lambda found: self._loop.callFromThread(self._serve_blob, request, found),
        )

    def kept_wanted(
        self, job: int, request: int, name: str, total_bytes: int, start: int, size_bytes: int, holder: int
    ) -> None:
        """A worker was given what a node of a cluster keeps for this process."""
        self.blob_wanted(job, request, name, total_bytes, start, size_bytes)

    def blob_gone(self, sha256: str) -> None:
        """This process has let go of a broadcast object; workers may as well. At any moment."""
        self._loop.callFromThread(self._drop_blob, sha256)

    def close(self, grace_s: float | None = None) -> None:
        """End the workers and the loop. Waits a few seconds at most.

        Args:
            grace_s: How long a worker may take to finish what it is at; 0.0 to kill it at once.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for job in list(self._jobs.values()):
                job.failed(RuntimeError("the engine is closed, or this process is ending"))
            self._jobs.clear()
        closed = threading.Event()
        self._loop.callFromThread(self._close_crew, closed, CLOSE_GRACE_S if grace_s is None else grace_s)
        if not closed.wait(CLOSE_TIMEOUT_S):
            self._crew.kill()
        self._loop.stop()

    def abandon(self) -> None:
        """In a forked child: close what was inherited without touching the parent's workers."""
        # A thread of the parent may have held the lock, and will never give it back here.
        self._lock = threading.RLock()
        self._closed = True
        self._jobs = {}

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        with self._lock:
            return self._crew.pids

    def _close_crew(self, closed: threading.Event, grace_s: float) -> None:
        with self._lock:
            self._crew.close(grace_s, closed.set)

    def _serve_module(self, request: int, name: str) -> None:
        module = find_source(name)
        with self._lock:
            self._crew.module_arrived(request, module)

    def _serve_blob(self, request: int, found: blobs.Blob | None) -> None:
        payload = None if found is None else found.payload
        with self._lock:
            if payload is None:
                self._crew.blobs.refused(request, blobs.GONE)
            else:
                self._crew.blobs.whole_came(request, payload)

    def _drop_blob(self, sha256: str) -> None:
        with self._lock:
            if blobs.own(sha256) is None:  # nor the same anew
                self._crew.blobs.drop(sha256)

    def _tell(self, event: ev.Event, payload: Draw | list[Segment] | None = None) -> None:
        """Tell the scheduler, and obey. What it leads to is told after, never within."""
        self._events.append((event, payload))
        if self._telling:
            return
        self._telling = True
        try:
            while self._events:
                event, payload = self._events.popleft()
                for command in self._scheduler.handle(event):
                    self._obey(command, payload)
        finally:
            self._telling = False

    def _obey(self, command: ev.Command, payload: Draw | list[Segment] | None) -> None:
        job = self._jobs.get(command.job) if not isinstance(command, ev.WakeAt) else None
        match command:
            case ev.SendParcel():
                assert isinstance(payload, Draw)
                self._crew.receive(
                    command.job,
                    command.parcel,
                    command.attempt,
                    payload.first,
                    payload.packet_tasks,
                    payload.unit_tasks,
                    payload.units,
                    payload.size_bytes,
                )
            case ev.ForwardResults() if job is not None:
                assert isinstance(payload, list)
                job.results(command.parcel, command.attempt, payload)
            case ev.Demand() if job is not None:
                job.granted(command.node, command.cpu_count, command.packets)
            case ev.IntroduceJob() if job is not None:
                self._crew.introduce(
                    command.job,
                    job.function.segments,
                    SESSION,
                    job.reduces,
                    quiet=not job.spec.output,
                    limit_ms=job.spec.limit_ms,
                    priority=job.spec.priority,
                    slots=job.spec.slots,
                    chunksize=job.spec.slice_tasks,
                    patient=job.spec.patient,
                    expected_ns=job.expected_ns,
                )
            case ev.CancelItem():
                self._crew.cancel_item((command.job, command.parcel, command.attempt), command.index)
            case ev.ForgetJob():
                self._crew.forget(command.job)
            case ev.FinishJob():
                self._jobs.pop(command.job, None)
            case ev.WakeAt():
                delay_s = max(0.0, (command.at_ns - time.monotonic_ns()) / 1e9)
                self._loop.callLater(delay_s, self._wake)

    def _wake(self) -> None:
        with self._lock:
            self._tell(ev.TimePassed(time.monotonic_ns()))


def _names() -> tuple[str, ...]:
    """What a job may ask for this machine by."""
    return "local", "localhost", socket.gethostname()


_engine: LocalEngine | None = None
_engine_lock = threading.Lock()
# All that are alive, to be closed with the process, and for a forked child to forget.
_engines: weakref.WeakSet[LocalEngine] = weakref.WeakSet()
_closes_at_exit = False


def local_engine() -> LocalEngine:
    """This process's embedded engine, started at the first call.

    Raises:
        RuntimeError: A worker calls it while it imports what its own work needs.
    """
    global _engine
    loading.check()
    with _engine_lock:
        if _engine is None:
            _engine = LocalEngine()
        return _engine


def _blob_gone(sha256: str) -> None:
    for engine in list(_engines):
        engine.blob_gone(sha256)


blobs.when_gone(_blob_gone)


def _keep_track(engine: LocalEngine) -> None:
    global _closes_at_exit
    _engines.add(engine)
    if not _closes_at_exit:
        _closes_at_exit = True
        # Registered now, so it runs before multiprocess waits for the workers at exit.
        atexit.register(_close_engines, os.getpid())


def _close_engines(pid: int) -> None:
    if pid == os.getpid():
        for engine in list(_engines):
            engine.close()


def _after_fork() -> None:
    global _engine, _engine_lock, _closes_at_exit
    _engine_lock = threading.Lock()
    _engine, _closes_at_exit = None, False
    for engine in list(_engines):
        engine.abandon()
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
