"""One machine's agent: between a server and a crew of workers.

It dials the server, proves itself, hands parcels to its `Crew` and results back, and dials again
when the connection is lost. Payloads pass through as bytes; only workers unpickle.

Life of the connection::

    dialling -> shaking hands -> joined -> lost -> (wait) -> dialling ...      or ended
"""

from __future__ import annotations

import logging
import os
import random
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from .. import __version__
from ..config import Settings, is_loopback
from ..errors import AuthenticationError, ClusterError, ProtocolError, VersionMismatch
from ..memory_budget import usable_memory_bytes
from ..sealed import SHARE_BYTES
from ..workers.crew import Crew, ResultSegment
from ..workers.module_source import ModuleSource
from ..workers.process import WITHIN_NODE
from . import local_socket
from . import messages as wire
from .lent_slots import LentSlots
from .node_calls import NodeCalls
from .node_connection import NodeConnection
from .node_shortcuts import NodeShortcuts
from .serving_kept import serve_kept
from .shared_payloads import result_frames, units_of
from .tls_twisted import client_tls_factory
from .wire import Buffer, gather

__all__ = ["AchillesNode"]

_log = logging.getLogger("achilles.node")

DIAL_TIMEOUT_S = 10.0
RETRY_S = 0.2
RETRY_MAX_S = 10.0
# A server that was started a moment ago may listen before its local socket does.
KEYLESS_TRIES = 5
STOP_GRACE_S = 2.0
# Workers hear of jobs in 32 bits.
MAX_JOB = 2**32 - 1
MAX_NAME = 255
# The part of this machine's memory that blobs may take, unless MEMORY_BUDGET says how much.
BLOB_PART = 4


class AchillesNode:
    """Keeps one crew of workers at a server's disposal.

    Args:
        reactor: Twisted's reactor.
        settings: Where the server is, and what proves our right.
        cpu_count: Number of workers.
        sys_path: Where workers import installed packages from.
        say: Prints a line for the user.
    """

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        cpu_count: int,
        sys_path: list[str],
        say: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.cpu_count = cpu_count
        self._reactor = reactor
        self._say = say
        self._crew = Crew(
            reactor,
            cpu_count,
            self,
            sys_path=sys_path,
            node_name=f"node {socket.gethostname()}",
            tag=f"node {socket.gethostname()}",
            environment={WITHIN_NODE: f"{socket.gethostname()} {os.getpid()}"},
            blob_budget_bytes=settings.memory_budget or usable_memory_bytes() // BLOB_PART,
        )
        self._connection: NodeConnection | None = None
        self._calls: NodeCalls | None = None
        self._lent: LentSlots | None = None
        self._shortcuts = NodeShortcuts(self._crew, reactor)
        self._functions: dict[str, tuple[list[Buffer], set[int]]] = {}
        self._jobs: dict[int, str] = {}
        self._fetches: dict[int, int] = {}
        self._delay_s = RETRY_S
        self._keyless_tries = 0
        self._told_waiting = False
        self._ended: Deferred[None] | None = None
        self._done: Deferred[None] = Deferred()
        self._retry: Any = None
        self._overdue: Any = None
        self._left = False

    def start(self) -> Deferred[None]:
        """Start workers and dial. Fires when the server ended this node; fails when it may not join."""
        self._crew.start()
        self._dial()
        return self._done

    def stop(self, grace_s: float = 0.0) -> Deferred[None]:
        """Leave the server and end the workers.

        Args:
            grace_s: First give back what was not begun, and finish what was, for so long.
        """
        if self._ended is None:
            self._ended = Deferred()
            if self._retry is not None and self._retry.active():
                self._retry.cancel()
            if self._connection is not None and grace_s > 0:
                self._connection.send(wire.Drain())
                self._overdue = self._reactor.callLater(grace_s, self._leave)
                self._crew.drain(self._leave)
            else:
                self._leave()
        return self._ended

    def _leave(self) -> None:
        if self._overdue is not None and self._overdue.active():
            self._overdue.cancel()
        if self._left:
            return
        self._left = True
        if self._connection is not None:
            self._connection.close()
        self._shortcuts.close()
        ended = self._ended
        assert ended is not None
        self._crew.close(STOP_GRACE_S, lambda: ended.callback(None))

    # Connecting.

    def hello(self) -> wire.Hello:
        """What this node says of itself."""
        return wire.Hello(
            protocol=wire.PROTOCOL,
            role="node",
            version=__version__,
            python=sys.version_info[:2],
            host=socket.gethostname(),
            pid=os.getpid(),
            cpu_count=self.cpu_count,
            job_options=wire.JOB_OPTIONS,
            calls=True,
        )

    def _dial(self) -> None:
        if self._ended is not None:
            return
        settings = self.settings
        factory: Any = Factory.forProtocol(lambda: NodeConnection(self, self._reactor))
        factory.noisy = False
        there = local_socket.find_connection_file(settings.host, settings.port)
        endpoint: Any
        if there is not None:
            endpoint = UNIXClientEndpoint(  # type: ignore[no-untyped-call]  # Twisted's
                self._reactor, there.socket, timeout=DIAL_TIMEOUT_S
            )
            dialled = endpoint.connect(factory)
            dialled.addErrback(lambda _: self._dial_tcp(factory))
        else:
            dialled = self._dial_tcp(factory)
        dialled.addErrback(self._unreachable)

    def _dial_tcp(self, factory: Any) -> Deferred[Any]:
        settings = self.settings
        endpoint = HostnameEndpoint(self._reactor, settings.host, settings.port, timeout=DIAL_TIMEOUT_S)
        dialled: Deferred[Any] = endpoint.connect(client_tls_factory(factory, self._reactor))
        return dialled

    def _unreachable(self, failure: Failure) -> None:
        if not self._told_waiting:
            self._told_waiting = True
            self._say(
                f"Waiting for an achilles_server at {self.settings.endpoint} ({failure.getErrorMessage()})"
            )
        self._dial_later()

    def _dial_later(self) -> None:
        if self._ended is not None:
            return
        # Jitter, so that nodes that lost a server together do not come back together.
        delay_s = self._delay_s * random.uniform(0.5, 1.0)
        self._delay_s = min(self._delay_s * 1.6, RETRY_MAX_S)
        self._retry = self._reactor.callLater(delay_s, self._dial)

    def joined(self, connection: NodeConnection, welcome: wire.Welcome) -> None:
        """The server has let us in."""
        self._connection = connection
        self._calls = NodeCalls(self._crew, connection)
        self._shortcuts = NodeShortcuts(self._crew, self._reactor)
        if welcome.lent:
            self._lent = LentSlots(self._crew.loans, self._reactor, self._tell_lent)
        kept = self._crew.kept
        kept.holder, kept.node = welcome.client_id, f"{socket.gethostname()}#{welcome.client_id}"
        self._delay_s = RETRY_S
        self._told_waiting = False
        self._say(f"GREETING: Welcome! There are currently {welcome.open_connections} open connections.")
        self._say("")
        self._say(f"Connected to achilles_server running at {self.settings.endpoint}")
        self._say(f"CLIENT_ID: {welcome.client_id}")

    def lost(self, connection: NodeConnection, error: ClusterError | None) -> None:
        """A connection is gone, for a reason of the protocol or none that we know."""
        was_joined = connection is self._connection
        if was_joined:
            self._connection = None
            if self._lent is not None:
                self._lent.close()
            self._shortcuts.close()
            self._functions.clear()
            self._fetches.clear()
            for job in list(self._jobs):
                self._crew.forget(job)
            self._jobs.clear()
        if self._ended is not None:
            return
        if isinstance(error, AuthenticationError | VersionMismatch) and not was_joined:
            if self._may_come_locally():
                self._retry = self._reactor.callLater(RETRY_S, self._dial)
            elif not self._done.called:
                self._done.errback(error)
            return
        if was_joined:
            self._say(f"ALERT: The connection to {self.settings.endpoint} was lost; reconnecting.")
        if error is not None:
            _log.warning("%s", error.fields.get("logged", error))
        self._dial_later()

    def _may_come_locally(self) -> bool:
        if self.settings.secret_key is not None or not is_loopback(self.settings.host):
            return False
        self._keyless_tries += 1
        return self._keyless_tries < KEYLESS_TRIES

    # Frames from the server.

    def received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        """One frame, of a type that a server may send."""
        match message:
            case wire.Parcel():
                self._parcel(message, chunks)
            case wire.Call() | wire.GiveUp():
                self._call(message, chunks)
            case wire.Shortcut():
                self._shortcut(message)
            case wire.Job():
                self._job(message, chunks)
            case wire.Forget():
                self._forget(message.job)
            case wire.TakeBack() | wire.Abandon():
                parcel = message.job, message.parcel, message.attempt
                self._crew.give_up(parcel, begun=isinstance(message, wire.Abandon))
            case wire.CancelItem():
                self._crew.cancel_item((message.job, message.parcel, message.attempt), message.index)
            case wire.Blob() | wire.KeptPiece():
                self._blob(message, chunks)
            case wire.FetchKept():
                assert self._connection is not None
                serve_kept(self._connection, self._crew.kept, message)
            case wire.DropKept():
                self._crew.kept.drop(message.session, message.name)
                self._crew.blobs.drop_of(message.session, message.name)  # if it is another node's
            case wire.Fetched():
                self._fetched(message, bytes(gather(chunks)))
            case wire.Exit():
                if not self._done.called:
                    self._done.callback(None)

    def _parcel(self, parcel: wire.Parcel, chunks: list[Buffer]) -> None:
        if parcel.job not in self._jobs:
            raise ProtocolError(f"a parcel of job {parcel.job} came before the job")
        lengths = [tasks for tasks, _ in parcel.units]
        key = (parcel.job, parcel.parcel, parcel.attempt)
        self._crew.receive(
            *key, parcel.first, parcel.packet_tasks, lengths, units_of(parcel, chunks), parcel.size
        )

    def _call(self, message: wire.Call | wire.GiveUp, chunks: list[Buffer]) -> None:
        assert self._calls is not None
        if isinstance(message, wire.GiveUp):
            self._calls.given_up(message.call)
            return
        if message.job not in self._jobs:
            raise ProtocolError(f"a call of job {message.job} came before the job")
        self._calls.came(message, chunks)

    def _shortcut(self, message: wire.Shortcut) -> None:
        if message.job not in self._jobs:
            raise ProtocolError(f"a shortcut for job {message.job} came before the job")
        assert self._connection is not None
        self._shortcuts.named(message, self._connection)

    def _job(self, job: wire.Job, chunks: list[Buffer]) -> None:
        if job.job in self._jobs or job.job > MAX_JOB:
            raise ProtocolError(f"job {job.job} was introduced before, or its number is too large")
        if job.slots > self.cpu_count:
            raise ProtocolError(f"a task of job {job.job} takes {job.slots} slots, here are {self.cpu_count}")
        if chunks and job.function not in self._functions:
            self._functions[job.function] = ([gather(chunks)], set())
        known = self._functions.get(job.function)
        if known is None:
            raise ProtocolError(f"job {job.job} came without its function")
        known[1].add(job.job)
        self._jobs[job.job] = job.function
        self._crew.introduce(
            job.job,
            known[0],
            job.session,
            job.reduces,
            quiet=job.quiet,
            limit_ms=job.timeout_ms,
            priority=job.priority,
            slots=job.slots,
            chunksize=job.chunksize,
            patient=job.patient,
            expected_ns=job.expected_ns or None,
        )

    def _forget(self, job: int) -> None:
        function = self._jobs.pop(job, None)
        if function is None:
            return
        jobs = self._functions[function][1]
        jobs.discard(job)
        if not jobs:
            del self._functions[function]
        self._fetches = {request: asker for request, asker in self._fetches.items() if asker != job}
        self._shortcuts.job_gone(job)
        self._crew.forget(job)

    def _fetched(self, answer: wire.Fetched, source: bytes) -> None:
        if self._fetches.pop(answer.request, None) is None:
            return
        module = ModuleSource(
            answer.found,
            answer.is_package,
            answer.origin or None,
            answer.sha256,
            source,
            answer.reason,
            answer.is_extension,
        )
        self._crew.module_arrived(answer.request, module)

    def _blob(self, answer: wire.Blob | wire.KeptPiece, chunks: list[Buffer]) -> None:
        blobs = self._crew.blobs
        if answer.descriptor:
            assert self._connection is not None
            blobs.whole_came(answer.request, self._connection.claim_beside(answer.total))
        elif answer.found:
            piece = chunks[0] if len(chunks) == 1 else gather(chunks)
            blobs.piece_came(answer.request, answer.start, answer.total, piece)
        else:
            blobs.refused(answer.request, answer.reason)

    # What the crew reports.

    def _tell_lent(self, slots: int) -> None:
        if self._connection is not None:
            self._connection.send(wire.Lent(slots=slots))

    def results_ready(self, job: int, parcel: int, attempt: int, segments: list[ResultSegment]) -> None:
        """Send results on; nobody waits for those of a server that is gone."""
        if self._connection is None:
            return
        for frame, payload in result_frames(job, parcel, attempt, segments):
            self._connection.send(frame, payload)

    def parcel_returned(self, job: int, parcel: int, attempt: int, given: bool) -> None:
        """Tell the server that a parcel can go to another node, or was begun here."""
        if self._connection is not None:
            self._connection.send(wire.Returned(job, parcel, attempt, given))

    def output(self, job: int, stream: int, lines: bytes) -> None:
        """Send on what a job's functions printed."""
        if self._connection is not None:
            for start in range(0, len(lines), wire.MAX_OUTPUT_BYTES):
                part = lines[start : start + wire.MAX_OUTPUT_BYTES]
                self._connection.send(wire.Output(job, stream), [part])

    def module_wanted(self, job: int, request: int, name: str) -> None:
        """Ask the job's controller for a module."""
        if self._connection is None:
            return  # the job is about to be forgotten
        # No other name has a source that could travel, and some would not fit into a frame.
        if not (len(name) < MAX_NAME and all(part.isidentifier() for part in name.split("."))):
            self._crew.module_arrived(request, ModuleSource.missing(name))
            return
        self._fetches[request] = job
        self._connection.send(wire.Fetch(job, request, name))

    def kept_wanted(
        self, job: int, request: int, name: str, total_bytes: int, start: int, size_bytes: int, holder: int
    ) -> None:
        """Ask another node for a piece of what it keeps, or at its start for the whole if that can come."""
        if self._connection is not None:
            whole = start == 0 and total_bytes >= SHARE_BYTES and self._connection.takes_descriptors
            self._connection.send(
                wire.FetchKept(
                    job=job,
                    request=request,
                    name=name,
                    holder=holder,
                    total=total_bytes,
                    start=start,
                    most=size_bytes,
                    descriptor=whole,
                )
            )

    def blob_wanted(
        self, job: int, request: int, sha256: str, total_bytes: int, start: int, size_bytes: int
    ) -> None:
        """Ask the job's controller for a piece of a blob, or at its start for the whole if that can come."""
        if self._connection is not None:
            whole = start == 0 and total_bytes >= SHARE_BYTES and self._connection.takes_descriptors
            self._connection.send(
                wire.FetchBlob(
                    job=job,
                    request=request,
                    sha256=sha256,
                    total=total_bytes,
                    start=start,
                    most=size_bytes,
                    descriptor=whole,
                )
            )
