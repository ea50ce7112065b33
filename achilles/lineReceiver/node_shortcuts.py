"""A node's ends of the sockets over which controllers of this machine make single calls.

The server makes them and says which jobs' calls may come there (`achilles.lineReceiver.server_shortcuts`).
What such calls print goes back there as well, before their answers.

Rules:

1. A call of a job that was not named for that shortcut is refused, as is one that no worker can be spared
   for: the server may have told the controller a moment sooner.
2. A controller that reads nothing gets no more run: what waits for it stays a few answers.
3. A shortcut ends with its controller, or with the connection to the server, whose jobs they are.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from ..errors import ClusterError, ProtocolError
from ..workers.crew import Crew
from . import messages as wire
from .call_frames import MAX_CALLS
from .node_calls import NodeCalls
from .passed_sockets import socket_of
from .protocol import AchillesProtocol
from .wire import Buffer, Limits

__all__ = ["NodeShortcut", "NodeShortcuts"]

_log = logging.getLogger("achilles.node")

_ALLOWED: frozenset[type] = frozenset({wire.Call, wire.GiveUp})
# What is printed is dropped for a controller for which more waits.
MAX_WAITING_BYTES = 1024 * 1024


class NodeShortcut(AchillesProtocol):
    """One of them.

    Args:
        crew: Has the workers.
        reactor: Twisted's reactor.
        on_end: Called when it is gone.

    Attributes:
        jobs: The jobs whose calls may come.
        calls: Those that have no answer.
    """

    def __init__(self, crew: Crew, reactor: Any, on_end: Callable[[], None]) -> None:
        super().__init__(reactor)
        self.jobs: set[int] = set()
        self.calls = NodeCalls(crew, self, self._printed)
        self._on_end = on_end
        self._unread_calls = 0

    def connection_ready(self) -> None:
        self.set_limits(Limits(payload_bytes=wire.MAX_CALL_BYTES))
        self.exchange_descriptors()

    def frame_received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        if type(message) is wire.Call:
            if self._reads() and message.job in self.jobs and len(self.calls) < MAX_CALLS:
                self.calls.came(message, chunks)
            else:
                self.calls.refuse(message)
            return
        wire.check_allowed(message, _ALLOWED)
        assert isinstance(message, wire.GiveUp)
        self.calls.given_up(message.call)

    def _reads(self) -> bool:
        """Whether the controller reads what it is sent."""
        if self.unsent_bytes <= wire.MAX_CALL_BYTES:
            self._unread_calls = 0
            return True
        # All of these are out for a controller that has not read their answers.
        self._unread_calls += 1
        if self._unread_calls > MAX_CALLS:
            raise ProtocolError(f"more than {MAX_CALLS} calls are out, and their answers are not read")
        return False

    def job_gone(self, job: int) -> None:
        """A job is over."""
        self.jobs.discard(job)
        self.calls.job_gone(job)

    def _printed(self, job: int, stream: int, lines: bytes) -> None:
        for start in range(0, len(lines), wire.MAX_OUTPUT_BYTES):
            if self.unsent_bytes <= MAX_WAITING_BYTES:
                self.send(wire.Output(job=job, stream=stream), [lines[start : start + wire.MAX_OUTPUT_BYTES]])

    def protocol_failed(self, error: ClusterError) -> None:
        """Tell the controller why, and close."""
        _log.warning("a shortcut is closed: %s", error.fields.get("logged", error))
        super().protocol_failed(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.calls.end()
        self._on_end()


class NodeShortcuts:
    """All of one connection to a server.

    Args:
        crew: Has the workers.
        reactor: Twisted's reactor.
    """

    def __init__(self, crew: Crew, reactor: Any) -> None:
        self._crew = crew
        self._reactor = reactor
        self._open: dict[int, NodeShortcut] = {}

    def named(self, message: wire.Shortcut, server: AchillesProtocol) -> None:
        """The server names a job for a shortcut, which perhaps comes with that."""
        if message.opens:
            self._take(message.shortcut, socket_of(server.claim()))
        shortcut = self._open.get(message.shortcut)
        if shortcut is not None:  # its controller may have closed it
            shortcut.jobs.add(message.job)

    def _take(self, number: int, end: socket.socket) -> None:
        with end:
            if number in self._open:
                raise ProtocolError(f"shortcut {number} was opened before")
            shortcut = NodeShortcut(self._crew, self._reactor, lambda: self._forget(number))
            self._open[number] = shortcut
            factory: Any = Factory.forProtocol(lambda: shortcut)
            factory.noisy = False
            try:
                self._reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
            except OSError as error:
                # This process may open no more, say. The controller reads the end of it.
                _log.warning("a shortcut cannot be used: %s", error)
                self._forget(number)

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)

    def job_gone(self, job: int) -> None:
        """A job is over."""
        for shortcut in self._open.values():
            if job in shortcut.jobs:
                shortcut.job_gone(job)

    def close(self) -> None:
        """Close them all, once what they were sent has gone."""
        for shortcut in list(self._open.values()):
            shortcut.close()
