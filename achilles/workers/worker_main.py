"""The worker process: reads units, runs the user's function on their items, sends results back.

Knows functions, arguments and results. Knows nothing of nodes, servers or packets beyond a number of
tasks; and imports nothing it can do without, since every worker pays for it in time and memory.

What comes and what goes back (frames in ``achilles.workers.channel``; "serialized" is
``achilles.serialization``):

FUNCTION  serialized ``(func, callback, reducer, on_error)``; ``on_error`` is ``"raise"``, ``"return"``
          or ``"skip"``, ``callback`` and ``reducer`` may be None. Loaded at the job's first unit and
          kept until FORGET. Field ``a`` is the session whose modules the job may import, ``b`` is 1
          when the parent wants to know since when each item runs.
UNIT      serialized list of arguments. Items ``[skip, skip + limit)`` are run; with SINGLY in its status each
          is noted in the progress file before it is run; with MORE_SOON the worker looks out for the next
          message for a while before it sleeps. Answer: one RESULT with ``a = first + skip``,
          ``b`` = how many of them it is for: ``limit``, or fewer if a note said so.
REDUCE    parts, each the payload of a RESULT with status 0 or 1 of a unit that was not reduced.
          Answer: one RESULT with the same ``a`` (first index) and ``b`` (tasks).

RESULT payloads, by status::

    OK            serialized values
    SOME_FAILED   serialized (values_payload, failures)
                      values_payload: bytes-like, itself serialized values
                      failures: [(index, failure blob)], by rising index, never empty
    ALL_FAILED    failure blob: the function or the arguments could not be loaded, or no answer could
                  be built; nothing is known of the single items

*values* is a list:

- not reduced (no reducer, or ``packet_tasks`` 0): one entry per item in order, the function's result
  passed through ``callback``; None where the item failed.
- reduced (UNIT with a reducer and ``packet_tasks`` > 0): one entry per packet of ``packet_tasks``
  items counted from ``skip``, the last may be shorter; a unit of no items is one empty packet.
- REDUCE: a list of one entry.

*failures* name global indices. Without a reducer every failed item is listed, whatever ``on_error``
says: the receiver decides. With a reducer ``on_error`` decides here, packet by packet:

- ``"raise"``: a packet that holds failures is not reduced: its entry is None, its failures are listed.
- ``"return"``: the reducer sees the exception objects in place of results; nothing is listed.
- ``"skip"``: the reducer sees the results without the failed ones; nothing is listed.

A reducer that fails, or whose value cannot be pickled, is a failure of the packet's first index, and
the packet's entry is None. ``callback`` failing, or a result that cannot be pickled
(``SerializationError``), is the failure of that item alone. ``busy_ns`` covers loading the arguments,
running and serializing; not loading the function.

A *note*, on a pipe of its own, is one int64: twice the number of a UNIT, counted from 1 together with the
REDUCEs, and one more if a slice that is not reduced may be cut. If the unit runs, no further item of it is
begun (with ``packet_tasks``, none beyond those of so many that were begun, unless they may be cut):
UNBEGUN, with its number in ``a``, says at once in ``b`` how many of its items the RESULT will be for. If it
was not begun it never will be: UNBEGUN, with 0 in ``b``, takes the place of its RESULT. If it is still at an
item some time later, EARLY_RESULT answers for those before; what is said of the UNIT from then on is about
the others.

Code of the user may have the worker leave (``achilles.workers.leaving``). Then it begins no further item
either. LAST_RESULT takes the place of the RESULT, nothing more is read, and it ends as if told to EXIT.

Every ``BaseException`` of user code is caught, SystemExit and KeyboardInterrupt too.

The progress file holds four int64: index + 1 of the running item, or if that is below zero, index + 1 of an
item with which, or with one soon after it, the worker is busy; when an item began (monotonic, ns;
only of jobs with a limit); the running item's job; index + 1 of the item that began then. While the
function or the arguments are loaded the item is the first, while results are serialized the last; 0
when idle.
"""

from __future__ import annotations

import faulthandler
import gc
import marshal
import mmap
import os
import select
import signal
import struct
import sys
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from time import perf_counter_ns
from typing import NoReturn

from achilles.blobs import set_source
from achilles.sealed import Buffer
from achilles.workers import channel
from achilles.workers.channel import BlockingChannel
from achilles.workers.early_results import EarlyResults
from achilles.workers.frames import BrokenChannelError, Message
from achilles.workers.importing import OwnModules
from achilles.workers.leaving import become_worker
from achilles.workers.running import Job, answer_reduce, answer_unit
from achilles.workers.running_items import RunningItems
from achilles.workers.shared_blobs import SharedBlobs
from achilles.workers.spinning import Spinning
from achilles.workers.streams import WORKER_BYTES_PER_S, Budget, MarkedStream, text_stream
from achilles.workers.surroundings import Surroundings

PROGRESS_BYTES = 32
SWITCH_INTERVAL_S = 0.001
NOTE = struct.Struct("<q")
_ANSWERS = (channel.MODULE, channel.BLOB, channel.KEPT)
#: What Python code writes to, and the bytes below it.
Output = tuple[TextIOWrapper, MarkedStream]


class Conversation:
    """The worker's talk with its parent: messages in order, and answers to its own questions.

    Any thread of the user's code may import a module and so ask. One thread at a time reads the
    channel, on behalf of all: it files what it reads and wakes the others.
    """

    def __init__(self, link: BlockingChannel) -> None:
        self.soon = False  # whether the next message may follow at once
        self._link = link
        self._poller = select.poll()
        self._poller.register(link.fileno(), select.POLLIN)
        self._spinning = Spinning()
        self._messages: list[Message] = []  # in reverse, so that the next one is popped off the end
        self._answers: dict[int, Message | None] = {}
        self._requests = 0
        self._reading = False
        self._waiting: list[LockType] = []
        self._state = allocate_lock()
        self._sending = allocate_lock()

    def next(self) -> Message:
        """Block until the parent's next message."""
        if not self._messages:
            if self.soon:
                self.soon = False
                self._spinning.spin(self._poller)
            self._read_until(lambda: bool(self._messages))
        return self._messages.pop()

    def send(
        self, kind: int, status: int, job: int, a: int, b: int, c: int, segments: Sequence[Buffer]
    ) -> None:
        with self._sending:
            self._link.send(kind, status, job, a, b, c, segments)

    def say_unbegun(self, unit: int, tasks: int) -> None:
        try:
            self.send(channel.UNBEGUN, 0, 0, unit, tasks, 0, ())
        except (OSError, BrokenChannelError):
            pass  # who is gone needs no answer

    def ask_module(self, job: int, name: str) -> Message | None:
        """The parent's MODULE answer; None where there is nobody to ask, as in a forked child."""
        return self._ask(channel.FETCH, job, 0, 0, [name.encode()])

    def ask_blob(self, job: int, name: bytes, size_bytes: int, where: int = 0) -> Message | None:
        """The parent's BLOB answer, or None likewise."""
        return self._ask(channel.FETCH_BLOB, job, size_bytes, where, [name])

    def ask_to_keep(self, job: int, segments: Sequence[Buffer]) -> Message | None:
        """The parent's KEPT answer, or None likewise."""
        return self._ask(channel.KEEP, job, 0, 0, segments)

    def _ask(self, kind: int, job: int, b: int, c: int, segments: Sequence[Buffer]) -> Message | None:
        with self._state:
            self._requests += 1
            request = self._requests
            self._answers[request] = None
        try:
            self.send(kind, 0, job, request, b, c, segments)
            self._read_until(lambda: self._answers[request] is not None)
        except (OSError, BrokenChannelError):
            return None
        finally:
            answer = self._answers.pop(request)
        return answer

    def after_fork(self) -> None:
        """In a child of the worker: nothing it does may reach the parent."""
        self._link.close()
        self._state = allocate_lock()
        self._sending = allocate_lock()

    def _read_until(self, done: Callable[[], bool]) -> None:
        while True:
            with self._state:
                if done():
                    return
                if self._reading:
                    turn = allocate_lock()
                    turn.acquire()
                    self._waiting.append(turn)
                else:
                    turn = None
                    self._reading = True
            if turn is not None:
                turn.acquire()  # released by the reader
                continue
            messages: list[Message] = []
            try:
                messages = self._link.receive()
            finally:
                with self._state:
                    self._reading = False
                    if messages:
                        self._file(messages)
                    waiting, self._waiting = self._waiting, []
                for turn in waiting:
                    turn.release()

    def _file(self, messages: list[Message]) -> None:
        arrived = []
        for message in messages:
            if message[0] in _ANSWERS:
                if message[3] in self._answers:
                    self._answers[message[3]] = message
            else:
                arrived.append(message)
        if arrived:
            arrived.reverse()
            self._messages[:0] = arrived


def main(channel_fd: int, progress_fd: int, parent_pid: int, notes_fd: int) -> None:
    """The whole life of a worker process; returns when it is told to exit."""
    _shield_from_signals()
    link = BlockingChannel(_own_descriptor(channel_fd))
    progress_map = mmap.mmap(progress_fd, PROGRESS_BYTES)
    os.close(progress_fd)
    progress = memoryview(progress_map).cast("q")
    # What another thread is told while an item runs, it should hear soon; that of five ms is for threads that
    # all have much to do.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    running = RunningItems(progress)
    become_worker(running.leave)
    conversation = Conversation(link)
    early = EarlyResults(running, partial(_say_early, conversation, progress))
    watched = (link.fileno(), parent_pid, _own_descriptor(notes_fd))
    start_new_thread(_heed_parent, (*watched, running, conversation, early))
    os.register_at_fork(after_in_child=conversation.after_fork)
    os.register_at_fork(after_in_child=running.after_fork)
    worker_pid = os.getpid()
    try:
        facts = marshal.loads(conversation.next()[6])  # noqa: S302 - from the parent that started us
        sys.path[:] = facts["sys_path"]
        sys.argv[:] = [""]
        own_modules = OwnModules(conversation.ask_module)
        own_modules.install(first=facts["own_modules"] == "controller")
        shared_blobs = SharedBlobs(conversation.ask_blob, own_modules.whose, conversation.ask_to_keep)
        set_source(shared_blobs)
        surroundings = Surroundings([(number, _duplicate(number)) for number in (1, 2)])
        outputs = _take_output(facts["output_token"], progress, running)
        gc.collect()
        gc.freeze()
        conversation.send(channel.READY, 0, 0, 0, 0, 0, ())
        _serve(conversation, own_modules, shared_blobs, progress, running, outputs, surroundings)
    except (BrokenChannelError, OSError):
        if os.getpid() == worker_pid:
            _kill_group()
        os._exit(1)  # a child that user code forked and that came back up to here


def _serve(
    conversation: Conversation,
    own_modules: OwnModules,
    shared_blobs: SharedBlobs,
    progress: memoryview,
    running: RunningItems,
    outputs: list[Output],
    surroundings: Surroundings,
) -> None:
    jobs: dict[int, Job] = {}
    while True:
        if not _serve_one(
            jobs, conversation, own_modules, shared_blobs, progress, running, outputs, surroundings
        ):
            return


def _serve_one(
    jobs: dict[int, Job],
    conversation: Conversation,
    own_modules: OwnModules,
    shared_blobs: SharedBlobs,
    progress: memoryview,
    running: RunningItems,
    outputs: list[Output],
    surroundings: Surroundings,
) -> bool:
    # A function of its own, so that a worker that waits for work holds neither payloads nor results.
    kind, how, number, a, b, c, payload = conversation.next()
    if kind == channel.UNIT or kind == channel.REDUCE:
        job = jobs.get(number)
        if not running.next_unit() or job is None:
            return True  # given back or forgotten: nobody waits for the answer
        begin, tasks = (a + (b >> 32), b & 0xFFFFFFFF) if kind == channel.UNIT else (a, b)
        if progress[2] != number and progress[2]:
            surroundings.put_right()
        progress[2] = number
        progress[3] = 0
        progress[0] = begin + 1
        own_modules.enter(job.session, number)
        job.load(begin)
        started_ns = running.started_ns = perf_counter_ns()
        if kind == channel.UNIT:
            status, segments, tasks = answer_unit(
                job, payload, a, b >> 32, tasks, c, progress, running, singly=bool(how & channel.SINGLY)
            )
        else:
            status, segments = answer_reduce(job, payload, a, c)
        busy_ns = perf_counter_ns() - started_ns - running.early_busy_ns
        del payload  # while the parent is slow to read, do not hold both
        _flush_output(outputs)
        progress[0] = 0
        leaves = running.leaving
        kind = channel.LAST_RESULT if leaves else channel.RESULT
        conversation.send(kind, status, number, begin + running.early_tasks, tasks, busy_ns, segments)
        conversation.soon = bool(how & channel.MORE_SOON)
        return not leaves
    elif kind == channel.FUNCTION:
        jobs[number] = Job(a, payload, timed=bool(b))
        own_modules.job_began(a)
    elif kind == channel.FORGET:
        job = jobs.pop(number, None)
        if job is not None:
            own_modules.job_ended(job.session)
    elif kind == channel.DROP_BLOB:
        shared_blobs.drop(a, payload)
    elif kind == channel.EXIT:
        return False
    return True


def _say_early(
    conversation: Conversation,
    progress: memoryview,
    status: int,
    first: int,
    tasks: int,
    busy_ns: int,
    segments: Sequence[Buffer],
) -> None:
    conversation.send(channel.EARLY_RESULT, status, progress[2], first, tasks, busy_ns, segments)


def _shield_from_signals() -> None:
    """Signals as in a fresh process, whatever the parent's threads had blocked or ignored."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getpgrp() != os.getpid():
        os.setpgrp()


def _own_descriptor(fd: int) -> int:
    """The channel under a number beyond those that user code closes or reuses by habit."""
    own = _duplicate(fd)
    os.close(fd)
    return own


def _duplicate(fd: int) -> int:
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
    except OSError:  # fewer descriptors than that are allowed
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _heed_parent(
    channel_fd: int,
    parent_pid: int,
    notes_fd: int,
    running: RunningItems,
    conversation: Conversation,
    early: EarlyResults,
) -> None:
    """Thread: take back units that a note names; end this process and all it started with its parent."""
    poller = select.poll()
    # A hang-up alone would not do: a child that the parent forked holds the channel's other end too.
    poller.register(channel_fd, 0)
    try:
        poller.register(os.pidfd_open(parent_pid), select.POLLIN)
    except (AttributeError, OSError):
        pass
    poller.register(notes_fd, select.POLLIN)
    while os.getppid() == parent_pid:
        ready = dict(poller.poll(early.timeout_ms()))
        events = ready.pop(notes_fd, 0)
        if ready:
            break
        if events & select.POLLIN:
            for (note,) in NOTE.iter_unpack(os.read(notes_fd, NOTE.size * 64)):
                running.hand_back(note >> 1, conversation.say_unbegun, within=bool(note & 1))
                early.asked(note >> 1)
        elif events:
            poller.unregister(notes_fd)  # user code closed it
        early.look()
    _kill_group()


def _kill_group() -> NoReturn:
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _take_output(token: bytes, progress: memoryview, running: RunningItems) -> list[Output]:
    """Let what Python code prints carry marks, if the parent reads it."""
    if not token:
        return []
    outputs: list[Output] = []
    for number in (1, 2):
        own_fd = _duplicate(number)
        # A budget each: a flood on one does not drown errors on the other.
        budget = Budget(WORKER_BYTES_PER_S)
        marked = MarkedStream(own_fd, number, token, lambda: (progress[2], running.index()), budget)
        os.register_at_fork(after_in_child=marked.after_fork)
        outputs.append((text_stream(marked), marked))
    sys.stdout = sys.__stdout__ = outputs[0][0]  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = outputs[1][0]  # type: ignore[misc]
    # A crash in native code says on standard error where it was.
    faulthandler.enable(own_fd)
    return outputs


def _flush_output(outputs: list[Output]) -> None:
    """Show what the unit printed before its results are known; broken outputs are the user's own."""
    for _, marked in outputs:
        if marked.waiting:
            marked.flush()
    if outputs and sys.stdout is outputs[0][0] and sys.stderr is outputs[1][0]:
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001
                pass
