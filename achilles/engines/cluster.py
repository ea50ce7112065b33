"""The cluster engine: jobs of this process on the nodes of a server.

A call has a connection of its own, and leaves it behind for the next one (`IdleConnections`). What the
server asks for (demands, modules) is answered in the loop's thread; results are handed to the job as
bytes and unpickled by its reader.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..config import Settings
from ..errors import ClusterError
from ..kept import Keeper
from ..lineReceiver import messages as wire
from ..lineReceiver.achilles_controller import Controller, controller_loop
from ..lineReceiver.dialling import Link, dial
from ..lineReceiver.handshake import error_from
from ..lineReceiver.shared_payloads import share_units
from ..lineReceiver.wire import Buffer
from ..workers.kept_store import GONE
from .dialling_again import dial_again
from .drawing import Draw
from .idle_connections import IdleConnections, Origin, origin_of
from .interrupts import opened
from .job import Job
from .job_frames import parcel_of, report, submission_of, too_old_for
from .kept_fetching import CONNECTION_GONE, ClusterKeeper, KeptFetches
from .offers import Offers
from .remote_calls import RemoteCall, RemoteCalls
from .serving import serve

__all__ = ["ClusterEngine", "close_idle_connections", "cluster_engine"]

_log = logging.getLogger("achilles.controller")

# How long the end of the process waits for its connections to be closed.
CLOSE_TIMEOUT_S = 1.0

# Names this process to the workers, who keep the modules of different processes apart.
_session = uuid.uuid4().hex


class ClusterEngine:
    """A connection to a server, and the jobs that run over it.

    When the connection is lost it is made again, with growing pauses, for a minute; unfinished
    jobs are submitted anew and go on where they were. One that was lost while it was idle, which
    the next call may be the first to notice, is made again at once, and once.

    Args:
        settings: Where the server is, and what proves our right.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: See `dial`.
    """

    alone: bool = False  # nodes come and go

    def __init__(self, settings: Settings, origin: Origin = ()) -> None:
        self.origin = origin
        self._settings = settings
        # Reentrant: the garbage collector may close a dropped iterator's engine at any moment.
        self._lock = threading.RLock()
        self._jobs: dict[int, Job] = {}
        self._announced: dict[int, Controller] = {}
        self._unannounced: set[int] = set()  # jobs that wait for their only parcel
        self._whole: dict[int, bool] = {}  # whether the server was told that there is only one
        self._serial = 0
        self._offers = Offers(wire.Capacity(0, 0))
        self._failure: ClusterError | None = None
        self._in_use = True
        self._answered = True  # whether the server has said anything since a call took this over
        self._released = threading.Event()
        self._controller: Controller | None = None
        self._kept = KeptFetches()
        self._calls = RemoteCalls(self.connection_lost, self.frame_received)
        self._welcome: wire.Welcome
        _engines.add(self)
        with opened():
            link = dial(settings)
        self._take_over(link)

    def _take_over(self, link: Link) -> None:
        assert link.welcome is not None
        controller = Controller(link, controller_loop(), self)
        with self._lock:
            if not self._released.is_set():
                self._offers = Offers(link.welcome)
                self._welcome = link.welcome
                self._controller = controller
                controller.start()
                return
        link.close()

    def take(self) -> None:
        """Another call has it now."""
        with self._lock:
            self._in_use = True
            self._answered = False

    def submit(self, job: Job) -> None:
        """Send the function; demands follow."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._serial += 1
            job.number = self._serial
            self._jobs[job.number] = job
            controller, nodes = self._controller, self._offers.nodes
            if whole := nodes > 0 and job.is_one_slice:
                self._unannounced.add(job.number)
            elif controller is not None:
                # With the lock held, so that a server that is lost now is lost after this, also for the job.
                early = self._offers.taken_by(job)
        if whole:
            # No node has to be asked how to cut it: it is announced together with its parcel.
            job.nodes_changed(nodes)
            job.granted(0, 1, 1)
        elif controller is not None:
            self._announce(job, early=tuple([node for node, _, _ in early]), to=controller)

    def _announce(
        self, job: Job, *, whole: bool = False, early: tuple[int, ...] = (), to: Controller | None = None
    ) -> None:
        with self._lock:
            self._unannounced.discard(job.number)
            controller, welcome = self._controller, self._welcome
            # Whoever made the connection anew may be about to do the same, or has done it.
            if controller is None or to not in (None, controller):
                return
            if self._announced.get(job.number) is controller:
                return
            self._announced[job.number] = controller
            self._whole[job.number] = whole
        job.nodes_changed(self._offers.nodes)
        too_old = too_old_for(job.spec, welcome, self._settings.endpoint)
        if too_old is not None:
            job.failed(too_old)
            return
        submission = submission_of(job, _session, whole=whole, promised=early)
        # A parcel follows at once, if drawing it takes no time to speak of.
        follows = whole or (bool(early) and job.tasks_left > 0)
        controller.send(submission, job.function.segments, more=follows)

    def _send(self, message: wire.Message, segments: Iterable[Buffer] = ()) -> None:
        """Send a frame; what is sent without a connection is sent again after it was made anew."""
        controller = self._controller
        if controller is not None:
            controller.send(message, segments)

    def send_parcel(
        self, job: Job, parcel: int, attempt: int, node: int, draw: Draw, cancelled: Sequence[int] = ()
    ) -> None:
        """Send a parcel."""
        if job.number in self._unannounced:
            if draw.size_bytes > wire.MAX_WHOLE_BYTES:
                # As if it had been drawn for a server that was lost: it answers the first demand.
                job.connection_lost()
                self._announce(job)
                job.connected()
                return
            self._announce(job, whole=True)
        for index in cancelled[: wire.MAX_EARLY_CANCELS]:
            self.cancel_item(job, parcel, attempt, index)
        frame = parcel_of(job, parcel, attempt, node, draw)
        controller = self._controller
        if controller is not None and controller.takes_descriptors:
            share_units(frame, draw.units)
        self._send(
            frame, [segment for unit in draw.units for segment in unit] if frame.shared is None else ()
        )
        for index in cancelled[wire.MAX_EARLY_CANCELS :]:
            self.cancel_item(job, parcel, attempt, index)

    def end_input(self, job: Job) -> None:
        """No more parcels will come."""
        if job.number in self._unannounced or self._whole.get(job.number):
            return  # nothing could be drawn, or the server knows
        self._send(wire.Exhausted(job.number))

    def cancel(self, job: Job) -> None:
        """Drop the job."""
        with self._lock:
            known = self._jobs.pop(job.number, None) is not None and job.number not in self._unannounced
        if known:
            self._send(wire.Cancel(job.number))
            self._kept.end(GONE, job.number)
            self._calls.end(job.number)

    def cancel_item(self, job: Job, parcel: int, attempt: int, index: int) -> None:
        """Have an item fail, unless it is done."""
        self._send(wire.CancelItem(job.number, parcel, attempt, index))

    def release(self) -> None:
        """The call is over: keep the connection for the next one, if it is still good."""
        with self._lock:
            if not self._in_use:
                return
            self._in_use = False
            self._jobs.clear()
            self._announced.clear()
            self._unannounced.clear()
            self._whole.clear()
        self._kept.end(GONE)
        self._calls.end()
        _idle.put(self)

    def is_good(self) -> bool:
        """Whether another call could use the connection."""
        controller = self._controller
        return controller is not None and self._failure is None and controller.is_quiet()

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self._released.set()
        with self._lock:
            controller, self._controller = self._controller, None
        self._calls.disconnect()
        if controller is not None:
            controller.close()

    def abandon(self) -> None:
        """In a forked child: forget the connection, which is the parent's, and say nothing on it."""
        # A thread of the parent may have held the locks, and will never give them back here.
        self._lock = threading.RLock()
        self._released = threading.Event()
        self._released.set()
        self._in_use = False
        self._jobs = {}
        self._calls.abandon()
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.abandon()

    @property
    def lends(self) -> bool:
        """Whether the server passes single calls on to idle workers."""
        return self._welcome.calls

    def lend(self, job: Job) -> RemoteCall | None:
        """A call that an idle worker may run."""
        with self._lock:
            controller = self._announced.get(job.number) if self._failure is None else None
            if controller is None or controller is not self._controller:
                return None
            return self._calls.make(controller, job.number, self._offers.nodes)

    def give_up_loan(self, loan: RemoteCall) -> None:
        """Nobody waits for it any more."""
        loan.give_up()

    @property
    def keeps(self) -> bool:
        """Whether the server knows that results may stay at nodes."""
        return self._welcome.job_options >= wire.KEEPS_OPTION

    def keeper(self, job: Job) -> Keeper | None:
        """Who gets at what nodes keep for the job."""
        return ClusterKeeper(self, self._kept, job, controller_loop()) if self.keeps else None

    def line_of(self, job: Job) -> Controller | str:
        """The connection that a job runs over, or why there is none."""
        with self._lock:
            known = self._jobs.get(job.number) is job
            return GONE if not known else self._controller or CONNECTION_GONE

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        """Take in this thread what the server sends within so long."""
        controller = self._controller
        return controller is not None and controller.pump(patience_s, wanted)

    def lead(self) -> None:
        """The connection's loop hears all that no thread pumps for."""

    let_go = lead

    def no_nodes_reason(self) -> str:
        """What a caller without nodes should know."""
        endpoint = self._settings.endpoint
        return (
            f"The achilles_server at {endpoint} has no nodes, so nothing can run: start some, with "
            f"`achilles node {endpoint}` on each machine."
        )

    def frame_received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        """One frame from the server."""
        match message:
            case wire.Answer():
                self._calls.came(message, chunks)
            case wire.Shortcut():
                if (controller := self._controller) is not None:
                    self._calls.offered(controller, message)
            case wire.Capacity():
                with self._lock:
                    self._offers = Offers(message)
                    jobs = list(self._jobs.values())
                for job in jobs:
                    job.nodes_changed(message.nodes)
            case wire.Fetch() | wire.FetchBlob():
                controller = self._controller
                if message.job in self._jobs and controller is not None:
                    serve(controller, message)
            case wire.KeptPiece():
                if (controller := self._controller) is not None:
                    self._kept.came(controller, message, chunks)
            case wire.Error():
                self._fail_all(error_from(message, self._settings.host, self._settings.port))
            case (
                wire.Demand()
                | wire.Resend()
                | wire.Results()
                | wire.Failed()
                | wire.Finished()
                | wire.Output()
            ):
                with self._lock:
                    known = self._jobs.get(message.job)
                if known is not None:
                    self._answered = True
                    if isinstance(message, wire.Finished):
                        with self._lock:
                            self._jobs.pop(message.job, None)
                    report(known, message, chunks)

    def connection_lost(self, reason: BaseException | str) -> None:
        """The server is gone, has closed the connection, or said what it may not."""
        self._kept.end(CONNECTION_GONE)
        if isinstance(reason, ClusterError):
            self._fail_all(reason)
            return
        with self._lock:
            if self._released.is_set() or self._failure is not None:
                return
            self._controller = None
            in_use, answered = self._in_use, self._answered
            jobs = list(self._jobs.values())
        self._calls.disconnect()
        if not in_use:
            _idle.drop(self)
            self.close()
            return
        if answered:
            _log.warning(
                "the connection to the achilles_server at %s was lost (%s); reconnecting",
                self._settings.endpoint,
                reason,
            )
        for job in jobs:
            job.connection_lost()
        target = self._reconnect if answered else self._reconnect_at_once
        threading.Thread(target=target, name="achilles-reconnect", daemon=True).start()

    def _reconnect_at_once(self) -> None:
        """As a call without a kept connection would have connected."""
        try:
            self._go_on(dial(self._settings))
        except ClusterError as error:
            self._fail_all(error)

    def _reconnect(self) -> None:
        try:
            link = dial_again(self._settings, self._released)
        except ClusterError as error:
            self._fail_all(error)
        else:
            if link is not None:
                self._go_on(link)

    def _go_on(self, link: Link) -> None:
        """Resume unfinished jobs on a new connection."""
        self._answered = True
        self._take_over(link)
        with self._lock:
            jobs = [job for job in self._jobs.values() if not job.over]
        for job in jobs:
            self._announce(job)
            job.connected()

    def _fail_all(self, error: ClusterError) -> None:
        with self._lock:
            self._failure = error
            jobs = list(self._jobs.values())
            self._jobs.clear()
        self._calls.disconnect()
        for job in jobs:
            job.failed(error)


# All that are alive, for a forked child to forget.
_engines: weakref.WeakSet[ClusterEngine] = weakref.WeakSet()


def _later(delay_s: float, call: Callable[[], None]) -> Any:
    return controller_loop().callLater(delay_s, call)


_idle: IdleConnections[ClusterEngine] = IdleConnections(_later)


def cluster_engine(settings: Settings) -> ClusterEngine:
    """A connection to the server of the settings: an idle one, or a new one.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: See `dial`.
    """
    origin = origin_of(settings)
    engine = _idle.take(origin)
    if engine is not None:
        engine.take()
        return engine
    engine = ClusterEngine(settings, origin)
    # In one piece: others may write to where this goes.
    said = f"ALERT: Connection to achilles_server at {settings.endpoint} and authentication successful."
    print(f"{said}\n\n", end="", flush=True)
    return engine


def close_idle_connections() -> None:
    """Close the connections that are kept for the next call, and wait until they are closed."""
    if len(_idle):
        _idle.close_all()
        closed = threading.Event()
        controller_loop().callFromThread(closed.set)
        closed.wait(CLOSE_TIMEOUT_S)


def _at_exit() -> None:
    close_idle_connections()
    _idle.close()


def _after_fork() -> None:
    global _session, _idle
    _session = uuid.uuid4().hex
    _idle = IdleConnections(_later)
    for engine in list(_engines):
        engine.abandon()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
