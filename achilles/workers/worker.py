"""One worker process as its parent sees it: start, send, hear, watch, stop.

Knows the process, the channel to it and the file in which it writes what item it runs. Knows
nothing of jobs, units or what the messages mean, and never unpickles.

Life::

    start() -> worker_ready -> worker_message ... -> worker_died      (exactly one worker_died)

Rules:

- The owner's methods are called in the loop, never inside ``send`` or ``start``.
- All that the worker had written before it died is delivered before ``worker_died``.
- Death is what the kernel says of the process (pidfd), not the end of the channel: a grandchild that
  holds the channel open hides nothing. A worker that lives on without a channel is killed.
- At death the whole process group is killed before the worker is reaped, so what user code left
  running ends too, and no signal can reach a process that reused a number.
- After ``worker_died`` nothing is open and no call is pending.
"""

from __future__ import annotations

import json
import logging
import marshal
import mmap
import os
import select
import signal
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from achilles.sealed import Buffer, Payload, Sealed
from achilles.workers import channel
from achilles.workers.channel import LoopChannel
from achilles.workers.cores import available_cores
from achilles.workers.frames import BrokenChannelError
from achilles.workers.heard_here import HeardHere
from achilles.workers.loop import Call, Loop, SelectorLoop
from achilles.workers.module_source import ModuleSource
from achilles.workers.output import Label, OutputPipe
from achilles.workers.process import (
    UNKNOWN_EXIT_CODE,
    WorkerProcess,
    own_peak_rss_bytes,
    shared_file,
    thread_limits,
)
from achilles.workers.streams import TOKEN_BYTES

_log = logging.getLogger("achilles.workers")

PROGRESS_BYTES = 32  # as `worker_main` says
NOTE = struct.Struct("<q")  # as there
#: How often to ask for the exit code where the kernel has no pidfd.
POLL_S = 0.02
#: How long a worker may live on after it closed its channel.
CHANNEL_LOST_GRACE_S = 2.0
#: How long it may keep the function of a job that is over.
FORGET_S = 0.1


class Owner(Protocol):
    """Who is told what a worker does. Called in the loop."""

    def worker_ready(self, worker: Worker) -> None: ...

    def worker_message(
        self, worker: Worker, kind: int, status: int, job: int, a: int, b: int, c: int, payload: Payload
    ) -> None: ...

    def worker_died(self, worker: Worker, exit_code: int) -> None: ...


class OutputListener(Protocol):
    """Who is told what a worker prints. Called in the loop."""

    def worker_printed(
        self, worker: Worker, stream: int, label: Label, lines: bytes, dropped_bytes: int
    ) -> None:
        """Whole lines of a job's item, and how many bytes the worker dropped before them."""

    def whose_output(self, worker: Worker) -> Label | None:
        """Whose is what is printed now, as far as anyone can tell?"""


class Worker:
    """The parent's end of one worker process.

    Args:
        loop: Twisted's reactor or a ``SelectorLoop``.
        slot: The number of the slot it fills; only carried along.
        owner: Hears what happens.
        sys_path: The worker's ``sys.path``.
        slots: How many workers share this machine's cores; sets thread limits of numeric libraries.
        own_modules: ``"controller"``: modules that are neither standard library nor installed are
            asked for (FETCH) before the local path is tried; ``"local"``: the path comes first.
        environment: More variables for the process, such as ``CUDA_VISIBLE_DEVICES``.
        output: Hears what it prints; without, that goes where the parent's own output goes.

    Attributes:
        queued_bytes: What ``send`` took and the kernel has not yet.
        ready: Whether READY came.
        exit_code: None while it lives; negative for a signal; 255 when somebody else reaped it.
        peak_rss_bytes: Peak memory after death, None if unknown.
    """

    def __init__(
        self,
        loop: Loop,
        slot: int,
        owner: Owner,
        sys_path: Sequence[str],
        *,
        slots: int | None = None,
        own_modules: Literal["local", "controller"] = "controller",
        environment: Mapping[str, str] | None = None,
        output: OutputListener | None = None,
    ) -> None:
        self.slot = slot
        self.ready = False
        self.exit_code: int | None = None
        self.peak_rss_bytes: int | None = None
        self.pid = 0
        self._loop = loop
        self._owner = owner
        # An empty entry means the working directory, which is the parent's own affair.
        path = [entry or _working_directory() for entry in sys_path]
        self._token = b"" if output is None else b"\0" + os.urandom(TOKEN_BYTES - 1)
        self._start_facts = {"sys_path": path, "own_modules": own_modules, "output_token": self._token}
        self._output = output
        self._pipes: list[OutputPipe] = []
        self._poller = select.poll()
        self._environment = {
            **thread_limits(available_cores() if slots is None else slots),
            **(environment or {}),
        }
        self._channel: LoopChannel | None = None
        self._process: WorkerProcess | None = None
        self._watch: _DeathWatch | None = None
        self._progress = memoryview(bytearray(PROGRESS_BYTES)).cast("q")
        self._calls: list[Call] = []
        self._forgetting: Call | None = None
        self._notes_fd = -1
        self._rss_floor_bytes = 0

    def __repr__(self) -> str:
        state = "died" if self.exit_code is not None else "ready" if self.ready else "starting"
        return f"<Worker slot {self.slot} pid {self.pid} {state}>"

    # -- life

    def start(self) -> None:
        """Start the process; ``worker_ready`` follows.

        Raises:
            OSError: no process could be made.
        """
        ours, theirs = socket.socketpair()
        progress_fd = -1
        notes_fd, self._notes_fd = os.pipe()
        os.set_blocking(self._notes_fd, False)
        output_fds: tuple[int | None, int | None] = (None, None)
        try:
            if self._output is not None:
                output_fds = (self._open_pipe(1, self._output), self._open_pipe(2, self._output))
            for end in (ours, theirs):
                _enlarge_buffers(end)
            progress_fd = shared_file(PROGRESS_BYTES)
            self._progress = memoryview(mmap.mmap(progress_fd, PROGRESS_BYTES)).cast("q")
            # The kernel counts the memory of the process that forked into the child's peak.
            self._rss_floor_bytes = own_peak_rss_bytes()
            process = WorkerProcess(
                theirs.fileno(),
                progress_fd,
                notes_fd,
                self._environment,
                f"achilles-worker-{self.slot}",
                output_fds,
            )
            process.start()
        except BaseException:
            ours.close()
            for pipe in self._pipes:
                pipe.close()
            self._close_notes()
            self._release_progress()
            raise
        finally:
            theirs.close()
            for fd in (progress_fd, notes_fd, *output_fds):
                if fd is not None and fd >= 0:
                    os.close(fd)
        self._process = process
        self.pid = int(process.pid)
        self._channel = LoopChannel(
            self._loop,
            ours,
            self._message,
            self._channel_ended,
            self._drain_output if self._pipes else None,
        )
        self._channel.send(channel.START, segments=[marshal.dumps(self._start_facts)])
        self._channel.start()
        for pipe in self._pipes:
            pipe.start()
        if process.sentinel >= 0:
            self._watch = _DeathWatch(process.sentinel, self._process_ended)
            self._loop.addReader(self._watch)

    def _open_pipe(self, stream: int, listener: OutputListener) -> int:
        """Make the pipe of standard output (1) or error (2); its writing end, for the process."""
        reading_fd, writing_fd = os.pipe()

        def heard(stream: int, label: Label, lines: bytes, dropped_bytes: int) -> None:
            listener.worker_printed(self, stream, label, lines, dropped_bytes)

        pipe = OutputPipe(
            self._loop, reading_fd, stream, self._token, heard, lambda: listener.whose_output(self)
        )
        self._pipes.append(pipe)
        self._poller.register(reading_fd, select.POLLIN)
        return writing_fd

    def terminate(self) -> None:
        """SIGTERM to the worker and to all that it started."""
        if self._process is not None and self.exit_code is None:
            self._process.signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the worker and to all that it started."""
        if self._process is not None and self.exit_code is None:
            self._process.signal_group(signal.SIGKILL)

    def close(self, grace_s: float = 5.0) -> None:
        """Let it finish what was sent and leave; SIGTERM after ``grace_s``, SIGKILL after twice that.

        Call it in the loop. ``worker_died`` follows. A grace of 0 kills at once. A second call may be less
        patient than the first.
        """
        if self.exit_code is not None or self._process is None:
            return
        if grace_s <= 0:
            self.kill()
            return
        self.send(channel.EXIT)
        self._calls.append(self._loop.callLater(grace_s, self.terminate))
        self._calls.append(self._loop.callLater(2 * grace_s, self.kill))

    # -- talk

    def send(
        self,
        kind: int,
        status: int = 0,
        job: int = 0,
        a: int = 0,
        b: int = 0,
        c: int = 0,
        segments: Iterable[Buffer] | Sealed = (),
        *,
        more: bool = False,
    ) -> None:
        """Send one message, from any thread; never blocks, and is silent once the worker is dead.

        The segments are not copied: leave them alone until ``queued_bytes`` is 0. With ``more`` it may wait
        for the next message.
        """
        if self._channel is not None:
            self._channel.send(kind, status, job, a, b, c, segments, more)

    def forget(self, job: int) -> None:
        """Tell it that a job is over: with the next message, or soon, so as not to wake it for that."""
        self.send(channel.FORGET, 0, job, more=True)
        if self._forgetting is None:
            self._forgetting = self._loop.callLater(FORGET_S, self._forget_now)

    def _forget_now(self) -> None:
        self._forgetting = None
        if self._channel is not None:
            self._channel.send_held()

    def hand_back(self, unit: int, within: bool = False) -> None:
        """Have it give back what it has not begun of a unit, named by its number among UNITs and REDUCEs.

        If it runs it, it stops after the item that it is at, or its slice unless ``within``, and the RESULT
        is for fewer items. If it comes later, UNBEGUN follows. From any thread; lost when it has much to
        read.
        """
        try:
            if self._notes_fd >= 0:
                os.write(self._notes_fd, NOTE.pack(unit << 1 | within))
        except OSError:
            pass  # full, or the worker is gone

    def heard_here(self) -> HeardHere:
        """Within this block its thread hears what the worker says, and the loop's does not."""
        assert self._channel is not None and isinstance(self._loop, SelectorLoop)
        return HeardHere(self._channel, self._loop)

    def send_module(self, job: int, request: int, module: ModuleSource) -> None:
        """Answer a FETCH (job and request as they came in its fields ``job`` and ``a``)."""
        header = json.dumps(module.header()).encode()
        self.send(channel.MODULE, 0, job, request, len(header), 0, [header, module.source])

    @property
    def queued_bytes(self) -> int:
        return 0 if self._channel is None else self._channel.queued_bytes

    def progress(self) -> int:
        """Index + 1 of the item that runs (or ran when the worker died); 0 when idle.

        Below zero: index + 1 of an item such that it is this one, or one soon after it.
        """
        return self._progress[0]

    def running_since(self) -> tuple[int, int, int]:
        """(job, index + 1, since) of the running item; ``since`` on the monotonic clock, ns, 0 if unknown."""
        number = self._progress[0]
        begun, since_ns, job = self._progress[3], self._progress[1], self._progress[2]
        same = begun == number == self._progress[0]
        return job, number, since_ns if same else 0

    def unit_over(self, job: int, first: int, tasks: int) -> None:
        """A unit's results are here: what is printed from now on belongs to the next."""
        for pipe in self._pipes:
            pipe.unit_over(job, first, tasks)

    def last_stderr(self, job: int | None = None) -> str:
        """The end of what an item of the job (None: anybody) wrote last to standard error."""
        return self._pipes[1].tail_of(job) if self._pipes else ""

    # -- what the loop tells

    def _drain_output(self) -> None:
        """What the worker had printed before it answered is heard before the answer."""
        if self._poller.poll(0):
            for pipe in self._pipes:
                pipe.drain()
                if pipe.ended:
                    self._poller = select.poll()

    def _message(self, kind: int, status: int, job: int, a: int, b: int, c: int, payload: Payload) -> None:
        if kind == channel.READY:
            self.ready = True
            self._owner.worker_ready(self)
        else:
            self._owner.worker_message(self, kind, status, job, a, b, c, payload)

    def _channel_ended(self, error: Exception | None) -> None:
        if self.exit_code is not None:
            return
        if isinstance(error, BrokenChannelError):
            # A reset is just what the death of a process looks like from here.
            _log.warning("%r: %s", self, error)
        if self._watch is None:
            self._poll()
        if isinstance(error, BrokenChannelError):
            self.kill()
        else:
            self._calls.append(self._loop.callLater(CHANNEL_LOST_GRACE_S, self.kill))

    def _poll(self) -> None:
        """Where there is no pidfd: see whether it is dead, else look again soon."""
        self._process_ended()
        if self.exit_code is None:
            self._calls = [call for call in self._calls if call.active()]
            self._calls.append(self._loop.callLater(POLL_S, self._poll))

    def _process_ended(self) -> None:
        process, link = self._process, self._channel
        if process is None or link is None or self.exit_code is not None:
            return
        if not process.has_ended():
            return  # a reactor that stops says "connection lost" to all it watches
        # While it is not reaped its number still names its group, and only its group.
        process.signal_group(signal.SIGKILL)
        link.drain()
        exit_code = process.reap()
        if exit_code is None:
            return
        self.exit_code = exit_code
        if process.peak_rss_bytes is not None and process.peak_rss_bytes > self._rss_floor_bytes:
            self.peak_rss_bytes = process.peak_rss_bytes
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()
        if self._forgetting is not None:
            self._forgetting.cancel()
        for pipe in self._pipes:
            pipe.drain()
            pipe.close()
        if self._watch is not None:
            self._loop.removeReader(self._watch)
            self._watch = None
        link.close()
        self._close_notes()
        process.release()
        self._release_progress()
        self._owner.worker_died(self, exit_code)

    def _close_notes(self) -> None:
        fd, self._notes_fd = self._notes_fd, -1
        os.close(fd)

    def _release_progress(self) -> None:
        """Keep the last value; the mapping goes with its last reference."""
        self._progress = memoryview(bytes(self._progress)).cast("q")


class _DeathWatch:
    """A loop's reader on a pidfd, which turns readable when the process ends."""

    def __init__(self, fd: int, on_end: Any) -> None:
        self._fd = fd
        self._on_end = on_end

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        self._on_end()

    def connectionLost(self, reason: Any = None) -> None:
        self._on_end()

    def logPrefix(self) -> str:
        return "worker death"


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


def _enlarge_buffers(end: socket.socket) -> None:
    """Ask for what the kernel allows: a worker then waits less for a parent that is busy."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        try:
            end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        except OSError:
            pass


__all__ = ["UNKNOWN_EXIT_CODE", "Owner", "Worker"]
