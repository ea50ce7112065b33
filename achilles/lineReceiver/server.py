"""The body around the scheduler: connections in, frames routed, nothing unpickled.

It translates frames into the scheduler's events and its commands into frames. Payloads pass
through as they came; what a node or controller means by them is none of the server's business.
All of it runs in the reactor's thread.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred

from ..core import scheduler_events as ev
from ..core.promised import offers_of
from ..core.scheduler import Scheduler
from ..errors import ProtocolError
from . import messages as wire
from .server_calls import Calls
from .server_fetches import Fetches
from .server_jobs import Jobs, WholeInput, patterns_of
from .server_status import status_of
from .wire import Buffer

if TYPE_CHECKING:
    from .server_connection import ServerConnection

__all__ = ["HEARTBEAT_S", "AchillesServer"]

_log = logging.getLogger("achilles.server")

HEARTBEAT_S = 5.0
# How long a server waits for its nodes to leave before it answers `kill`.
KILL_TIMEOUT_S = 10.0
# Printed lines sent to a controller of which nothing was heard meanwhile.
MAX_UNHEARD_OUTPUT_BYTES = 8 * 1024 * 1024
# Live jobs of one controller.
MAX_JOBS = 10_000


class AchillesServer:
    """Routes and schedules for all connected nodes and controllers.

    Args:
        reactor: Twisted's reactor, or a clock for tests.
        endpoint: ``host:port`` as people know this server.
        on_shutdown: Called when a controller asked the server itself to stop.
        heartbeat_s: How often peers are asked whether they are there; a node that does not answer
            three times is lost.
        memory_budget_bytes: Payload of one job that may lie at nodes, and of all controllers that
            may wait here to be read.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: str,
        on_shutdown: Callable[[], None],
        heartbeat_s: float = HEARTBEAT_S,
        memory_budget_bytes: int = ev.MAX_JOB_BYTES,
    ) -> None:
        self.reactor = reactor
        self.endpoint = endpoint
        self.heartbeat_s = heartbeat_s
        self.started_s = time.time()
        self.scheduler = Scheduler()
        self.budget_bytes = memory_budget_bytes
        self.jobs = Jobs()
        self.nodes: dict[int, ServerConnection] = {}
        self.controllers: dict[int, ServerConnection] = {}
        self._on_shutdown = on_shutdown
        self._node_ids = itertools.count()
        self._controller_ids = itertools.count()
        self._fetches = Fetches(self)
        self._calls = Calls(self)
        self._events: deque[tuple[ev.Event, wire.Message | None, list[Buffer]]] = deque()
        self._telling = False
        self._kills: list[tuple[ServerConnection, bool, int]] = []
        self._not_reading: dict[int, ServerConnection] = {}  # controllers
        # Host and process of nodes that fell silent before they could be told to end.
        self._not_told: set[tuple[str, int]] = set()
        self._on_empty: Deferred[None] | None = None
        # Who takes a frame of an authenticated peer, by its type.
        self.receivers: dict[type, Callable[[ServerConnection, Any, list[Buffer]], None]] = {
            wire.Parcel: self._parcel,
            wire.Results: self._results,
            wire.Call: self._calls.came,
            wire.Answer: self._calls.answered,
            wire.GiveUp: self._calls.given_up,
            wire.Returned: self._returned,
            wire.Submit: self._submit,
            wire.Exhausted: self._exhausted,
            wire.Cancel: self._cancel,
            wire.CancelItem: self._cancel_item,
            wire.Fetch: self._fetches.module_wanted,
            wire.Fetched: self._fetches.module_came,
            wire.FetchBlob: self._fetches.piece_wanted,
            wire.Blob: self._fetches.blob_came,
            wire.FetchKept: self._fetches.piece_wanted,
            wire.KeptPiece: self._fetches.kept_came,
            wire.DropKept: self._fetches.kept_dropped,
            wire.Output: self._output,
            wire.Status: self._status,
            wire.Kill: self._kill,
            wire.Drain: self._drain,
            wire.Lent: self._lent,
        }

    # Connections come and go.

    def joined(self, connection: ServerConnection, hello: wire.Hello) -> int:
        """Take in an authenticated connection; returns its client id."""
        if hello.role == "node":
            number = next(self._node_ids)
            self.nodes[number] = connection
            _log.info("node %d joined: %s, %d slots", number, hello.host, hello.cpu_count)
        else:
            number = next(self._controller_ids)
            self.controllers[number] = connection
        return number

    def ready(self, connection: ServerConnection, number: int, hello: wire.Hello) -> None:
        """The welcome has been sent; work may follow."""
        if hello.role == "node":
            now_ns, cpu_count = time.monotonic_ns(), max(hello.cpu_count, 1)
            joined = ev.NodeJoined(now_ns, number, cpu_count, hello.python, names=connection.names)
            joined.shares_slots = hello.job_options >= wire.NEEDS_OPTION
            joined.takes_calls = hello.calls
            self.tell(joined)
            self._announce_capacity()
            if (hello.host, hello.pid) in self._not_told:
                self._not_told.remove((hello.host, hello.pid))
                connection.send(wire.Exit())

    def left(self, connection: ServerConnection, number: int, role: str) -> None:
        """An authenticated connection is gone."""
        if role == "node":
            _log.info("node %d left", number)
            del self.nodes[number]
            if connection.told_to_exit and connection.fell_silent and connection.hello is not None:
                self._not_told.add((connection.hello.host, connection.hello.pid))
            self.jobs.node_lost(number)
            self._calls.node_left(connection)
            self._fetches.party_lost(connection)
            self.tell(ev.NodeLost(time.monotonic_ns(), number))
            self._announce_capacity()
            self._answer_kills()
        else:
            del self.controllers[number]
            self._calls.controller_left(connection)
            self._fetches.party_lost(connection)
            self._not_reading.pop(number, None)
            self._kills = [kill for kill in self._kills if kill[0] is not connection]
            for job in self.jobs.of_controller(number):
                self.tell(ev.JobCancelled(time.monotonic_ns(), job))
                self._forget_job(job)
        self._check_empty()

    def capacity(self) -> tuple[int, int]:
        """Nodes and slots at hand."""
        return len(self.nodes), sum(node.cpu_count for node in self.scheduler.nodes.values())

    def offers(self) -> tuple[tuple[int, int], ...]:
        """Nodes for which a new job may send parcels before it is asked, with their slots."""
        return offers_of(self.scheduler.nodes.values())

    def _announce_capacity(self) -> None:
        (nodes, slots), offers = self.capacity(), self.offers()
        for controller in self.controllers.values():
            controller.send(wire.Capacity(nodes, slots, offers))

    def close(self, timeout_s: float) -> Deferred[None]:
        """Close every connection; fires when all are gone, or when it takes too long."""
        closed: Deferred[None] = Deferred()
        closed.addTimeout(timeout_s, self.reactor, onTimeoutCancel=lambda _result, _timeout_s: None)
        self._on_empty = closed
        for connection in [*self.nodes.values(), *self.controllers.values()]:
            connection.close()
        self._check_empty()
        return closed

    def _check_empty(self) -> None:
        if self._on_empty is not None and not self.nodes and not self.controllers:
            on_empty, self._on_empty = self._on_empty, None
            on_empty.callback(None)

    def controller_seen(self, connection: ServerConnection, reads: bool) -> None:
        """At a heartbeat: whether a controller has read anything of what waits for it since the last one.

        All that waits for those who read nothing stays within the budget. One that reads, however slowly,
        answers no new demand before it has read the results that were sent before the demand.
        """
        if reads:
            self._not_reading.pop(connection.number, None)
            return
        self._not_reading[connection.number] = connection
        if sum(each.unsent_bytes for each in self._not_reading.values()) <= self.budget_bytes:
            return
        worst = max(self._not_reading.values(), key=lambda each: each.unsent_bytes)
        del self._not_reading[worst.number]
        worst.drop(
            f"reads nothing ({worst.unsent_bytes >> 20} MiB wait for it; MEMORY_BUDGET is "
            f"{self.budget_bytes >> 20} MiB)"
        )

    # Frames come in.

    def _parcel(self, connection: ServerConnection, parcel: wire.Parcel, chunks: list[Buffer]) -> None:
        job = self.jobs.number_of(connection.number, parcel.job)
        if job is None:
            return  # finished or cancelled in the meantime
        whole = self.jobs.live[job].whole
        if whole is not None and not whole.placed:
            whole.came(parcel, chunks)
            self._place(job, whole)
            return
        self._parcel_arrived(job, parcel, chunks)

    def _place(self, job: int, whole: WholeInput) -> None:
        """Send a job's only parcel to its node, if both are known now."""
        placed = whole.place()
        if placed is not None:
            for message in whole.cancelled.values():
                self._item_cancelled(job, message)
            self._parcel_arrived(job, *placed, last=True)

    def _parcel_arrived(
        self, job: int, parcel: wire.Parcel, chunks: list[Buffer], *, last: bool = False
    ) -> None:
        place = (job, parcel.parcel, parcel.node, parcel.tasks, parcel.size, parcel.attempt, parcel.first)
        self.tell(ev.ParcelArrived(time.monotonic_ns(), *place, last), parcel, chunks)

    def _results(self, connection: ServerConnection, results: wire.Results, chunks: list[Buffer]) -> None:
        facts = [segment[:4] for segment in results.segments]
        now_ns = time.monotonic_ns()
        event = ev.ResultsArrived(
            now_ns, connection.number, results.job, results.parcel, results.attempt, facts
        )
        self.tell(event, results, chunks)

    def _returned(self, connection: ServerConnection, message: wire.Returned, _: list[Buffer]) -> None:
        now_ns = time.monotonic_ns()
        self.tell(
            ev.ParcelReturned(
                now_ns, connection.number, message.job, message.parcel, message.attempt, message.given
            )
        )

    def _submit(self, connection: ServerConnection, submit: wire.Submit, chunks: list[Buffer]) -> None:
        if self.jobs.number_of(connection.number, submit.job) is not None:
            raise ProtocolError(f"job {submit.job} was submitted before on this connection")
        if submit.chunksize < 1:
            raise ProtocolError("chunksize is at least 1")
        if len(self.jobs.of_controller(connection.number)) >= MAX_JOBS:
            raise ProtocolError(f"a controller has at most {MAX_JOBS} live jobs")
        nodes = patterns_of(submit)
        job = self.jobs.add(connection.number, submit, chunks, time.time())
        self.tell(
            ev.JobSubmitted(
                time.monotonic_ns(),
                job.number,
                connection.number,
                submit.chunksize,
                submit.python,
                most_bytes=self.budget_bytes,
                speculate=submit.speculate,
                tasks=submit.tasks,
                priority=submit.priority,
                nodes=nodes,
                slots=submit.slots,
                promised=submit.promised,
                expected_ns=submit.expected_ns or None,
            )
        )

    def _exhausted(self, connection: ServerConnection, message: wire.Exhausted, _: list[Buffer]) -> None:
        job = self.jobs.number_of(connection.number, message.job)
        if job is not None:
            self.tell(ev.InputEnded(time.monotonic_ns(), job))

    def _cancel(self, connection: ServerConnection, message: wire.Cancel, _: list[Buffer]) -> None:
        job = self.jobs.number_of(connection.number, message.job)
        if job is not None:
            self.tell(ev.JobCancelled(time.monotonic_ns(), job))
            self._forget_job(job)

    def _cancel_item(self, connection: ServerConnection, message: wire.CancelItem, _: list[Buffer]) -> None:
        job = self.jobs.number_of(connection.number, message.job)
        if job is None:
            return
        whole = self.jobs.live[job].whole
        if whole is not None and not whole.placed:
            whole.cancel(message)
        else:
            self._item_cancelled(job, message)

    def _item_cancelled(self, job: int, message: wire.CancelItem) -> None:
        item = (job, message.parcel, message.attempt, message.index)
        self.tell(ev.ItemCancelled(time.monotonic_ns(), *item))

    def _drain(self, connection: ServerConnection, message: wire.Drain, _: list[Buffer]) -> None:
        self.tell(ev.NodeDraining(time.monotonic_ns(), connection.number))

    def _lent(self, connection: ServerConnection, message: wire.Lent, _: list[Buffer]) -> None:
        self.tell(ev.SlotsLent(time.monotonic_ns(), connection.number, message.slots))

    def _output(self, connection: ServerConnection, output: wire.Output, chunks: list[Buffer]) -> None:
        if output.size > wire.MAX_OUTPUT_BYTES:
            raise ProtocolError(f"the payload of an output frame has at most {wire.MAX_OUTPUT_BYTES} bytes")
        job = self.jobs.live.get(output.job)
        controller = None if job is None else self.controllers.get(job.controller)
        if job is None or controller is None or job.quiet:
            return
        controller.unheard_output_bytes += output.size
        # One that answers nothing reads nothing: what it would see is not worth keeping.
        if controller.unheard_output_bytes <= MAX_UNHEARD_OUTPUT_BYTES:
            controller.send(wire.Output(job.local_number, output.stream), chunks)

    def _status(self, connection: ServerConnection, message: wire.Status, _: list[Buffer]) -> None:
        connection.send(wire.StatusReply(), [msgspec.json.encode(status_of(self))])

    def _kill(self, connection: ServerConnection, message: wire.Kill, _: list[Buffer]) -> None:
        self._kills.append((connection, message.shutdown_server, len(self.nodes)))
        for node in list(self.nodes.values()):
            node.told_to_exit = True
            node.send(wire.Exit())
        self.reactor.callLater(KILL_TIMEOUT_S, self._answer_kills, True)
        self._answer_kills()

    def _answer_kills(self, overdue: bool = False) -> None:
        if not self._kills or (self.nodes and not overdue):
            return
        kills, self._kills = self._kills, []
        for connection, _, nodes in kills:
            connection.send(wire.Killed(nodes - len(self.nodes)))
        if any(shutdown for _, shutdown, _ in kills):
            self._on_shutdown()

    # The scheduler decides.

    def tell(
        self, event: ev.Event, message: wire.Message | None = None, chunks: list[Buffer] | None = None
    ) -> None:
        """Tell the scheduler and obey it. What that leads to is told after, never within."""
        self._events.append((event, message, chunks or []))
        if self._telling:
            return
        self._telling = True
        try:
            while self._events:
                event, message, chunks = self._events.popleft()
                for command in self.scheduler.handle(event):
                    self._obey(command, message, chunks)
        finally:
            self._telling = False

    def _obey(self, command: ev.Command, message: wire.Message | None, chunks: list[Buffer]) -> None:
        match command:
            case ev.SendParcel():
                assert isinstance(message, wire.Parcel)
                message.job = command.job
                message.attempt = command.attempt
                self.nodes[command.node].send(message, chunks)
            case ev.ForwardResults():
                assert isinstance(message, wire.Results)
                message.job = self.jobs.live[command.job].local_number
                self.controllers[command.controller].send(message, chunks)
            case ev.PlaceCalls():
                self.jobs.live[command.job].calls_at = command.node
            case ev.TakeBack() | ev.Abandon():
                kind = wire.TakeBack if isinstance(command, ev.TakeBack) else wire.Abandon
                if command.node in self.nodes:
                    self.nodes[command.node].send(kind(command.job, command.parcel, command.attempt))
            case ev.CancelItem():
                if command.node in self.nodes:
                    item = (command.job, command.parcel, command.attempt, command.index)
                    self.nodes[command.node].send(wire.CancelItem(*item))
            case ev.WakeAt():
                delay_s = max(0.0, (command.at_ns - time.monotonic_ns()) / 1e9)
                self.reactor.callLater(delay_s, self._wake)
            case ev.IntroduceJob():
                job = self.jobs.live[command.job]
                introduction = wire.Job(
                    job.number,
                    job.function,
                    job.session,
                    job.reduces,
                    job.quiet,
                    job.timeout_ms,
                    job.priority,
                    job.slots,
                    job.chunksize,
                    job.patient,
                    job.expected_ns,
                )
                self.nodes[command.node].send(introduction, self.jobs.teach(job, command.node))
            case ev.ForgetJob():
                forgotten = self.jobs.live.get(command.job)
                if forgotten is not None:
                    self.jobs.unteach(forgotten, command.node)
                if command.node in self.nodes:
                    self.nodes[command.node].send(wire.Forget(command.job))
            case _:
                self._answer_controller(command)

    def _answer_controller(self, command: ev.Command) -> None:
        assert isinstance(command, ev.Demand | ev.Resend | ev.FinishJob | ev.FailJob | ev.FailParcel)
        job = self.jobs.live.get(command.job)
        controller = self.controllers.get(command.controller)
        if job is None or controller is None:
            return
        local = job.local_number
        match command:
            case ev.Demand() if job.whole is not None:
                # Not asked for: the controller has sent all there is.
                job.whole.node = command.node
                self._place(job.number, job.whole)
            case ev.Demand():
                controller.send(wire.Demand(local, command.node, command.cpu_count, command.packets, 0))
            case ev.Resend():
                again = (command.parcel, command.attempt, command.node, command.beside, command.redraw)
                controller.send(wire.Resend(local, *again))
            case ev.FailParcel():
                controller.send(wire.Failed(local, "lost", command.reason, command.parcel))
            case ev.FinishJob():
                controller.send(wire.Finished(local))
            case ev.FailJob():
                controller.send(wire.Failed(local, command.code, command.reason))
        if isinstance(command, ev.FinishJob | ev.FailJob):
            # The nodes are told to forget it by commands that follow, so it goes after those.
            self.reactor.callLater(0, self._forget_job, command.job)

    def _forget_job(self, number: int) -> None:
        job = self.jobs.remove(number)
        if job is not None:
            self._fetches.job_gone(job)
            self._calls.job_gone(number, job.controller)

    def _wake(self) -> None:
        self.tell(ev.TimePassed(time.monotonic_ns()))
