"""The embedded engine: this machine's cores, no server and no socket to the outside.

The three brains meet in one process: a job's `Submission` in the caller's threads, `Scheduler` and,
within a `Crew`, `Slots` under the engine's lock. The workers' pipes are served by a loop in a daemon
thread, or by a caller who waits for results; arguments are written to them straight from the thread
that drew them.

There is one engine for a process. It starts at the first call, keeps its workers between calls and
ends with the process. After a fork the child gets an engine of its own when it needs one.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from .. import blobs
from ..core import scheduler_events as ev
from ..core.scheduler import Scheduler
from ..sealed import mapped
from ..workers.crew import Crew, ResultSegment
from ..workers.loop import SelectorLoop
from ..workers.module_source import find_source
from ..workers.process import available_cores
from .drawing import Draw
from .job import Job
from .outcomes import Segment

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
        self._loop.start()
        with self._lock:
            self._crew.start()
            python = sys.version_info[:2]
            self._tell(ev.NodeJoined(time.monotonic_ns(), NODE, self.cpu_count, python, alone=True))

    def submit(self, job: Job) -> None:
        """Take a job on."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this process is ending; no new job can start")
            self._serial += 1
            job.number = self._serial
            self._jobs[job.number] = job
            spec = job.spec
            submitted = ev.JobSubmitted(time.monotonic_ns(), job.number, 0, spec.slice_tasks)
            submitted.most_bytes, submitted.tasks = spec.budget_bytes, job.tasks_left
            self._tell(submitted)

    def send_parcel(self, job: Job, parcel: int, attempt: int, node: int, draw: Draw) -> None:
        """Give a parcel to the workers."""
        with self._lock:
            now_ns = time.monotonic_ns()
            place = (job.number, parcel, node, draw.tasks, draw.size_bytes, attempt, draw.first)
            self._tell(ev.ParcelArrived(now_ns, *place, last=draw.ended), draw)

    def end_input(self, job: Job) -> None:
        """No more parcels will come."""
        with self._lock:
            known = self._scheduler.jobs.get(job.number)
            if known is not None and not known.input_ended:  # else the last parcel said so
                self._tell(ev.InputEnded(time.monotonic_ns(), job.number))

    def cancel(self, job: Job) -> None:
        """Drop a job."""
        with self._lock:
            self._jobs.pop(job.number, None)
            self._tell(ev.JobCancelled(time.monotonic_ns(), job.number))

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

    def blob_gone(self, sha256: str) -> None:
        """This process has let go of a broadcast object; workers may as well. At any moment."""
        self._loop.callFromThread(self._drop_blob, sha256)

    def close(self) -> None:
        """End the workers and the loop. Waits a few seconds at most."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for job in list(self._jobs.values()):
                job.failed(RuntimeError("this process is ending"))
            self._jobs.clear()
        closed = threading.Event()
        self._loop.callFromThread(self._close_crew, closed)
        if not closed.wait(CLOSE_TIMEOUT_S):
            self._crew.kill()
        self._loop.stop()

    def abandon(self) -> None:
        """In a forked child: close what was inherited without touching the parent's workers."""
        self._closed = True

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers."""
        with self._lock:
            return self._crew.pids

    def _close_crew(self, closed: threading.Event) -> None:
        with self._lock:
            self._crew.close(CLOSE_GRACE_S, closed.set)

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
                )
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


_engine: LocalEngine | None = None
_engine_lock = threading.Lock()


def local_engine() -> LocalEngine:
    """This process's embedded engine, started at the first call."""
    global _engine
    with _engine_lock:
        if _engine is None:
            _engine = LocalEngine()
            # Registered now, so it runs before multiprocess waits for the workers at exit.
            atexit.register(_close_engine, os.getpid())
        return _engine


def _blob_gone(sha256: str) -> None:
    engine = _engine
    if engine is not None:
        engine.blob_gone(sha256)


blobs.when_gone(_blob_gone)


def _close_engine(pid: int) -> None:
    if _engine is not None and pid == os.getpid():
        _engine.close()


def _after_fork() -> None:
    global _engine, _engine_lock
    _engine_lock = threading.Lock()
    if _engine is not None:
        _engine.abandon()
        _engine = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
