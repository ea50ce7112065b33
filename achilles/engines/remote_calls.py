"""Single calls whose callers wait, on idle workers of a cluster.

As on this machine (`achilles.workers.loan`) a call goes past the job's queues: the calling thread writes it
to the connection, server and node pass it on to a worker that has nothing to do, and the thread reads the
connection itself until the answer is there. Where the server has made a socket to a node of this machine
it is written to that, and the server has nothing to do with it.

Rules:

1. Every call is over once: when its answer comes, or with its line, or with the job.
2. What is refused, or lost on the way, is made in the ordinary way, which retries and says why it cannot.
3. A refused call has cost a round trip for nothing: so after it some calls are not tried, each time more.
   Those that a shortcut is not tried for go by the server, which may know a better node if it has another.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ProtocolError
from ..lineReceiver import messages as wire
from ..lineReceiver.achilles_controller import Controller, controller_loop
from ..lineReceiver.passed_sockets import socket_of
from ..lineReceiver.wire import Buffer
from .open_calls import MOST_SKIPPED, OpenCalls, RemoteCall, Trials
from .shortcut_calls import ShortcutCalls

__all__ = ["MOST_SKIPPED", "RemoteCall", "RemoteCalls"]

# A server makes fewer for a controller.
MAX_SHORTCUTS = 64


class _Way:
    """Where the calls of a job may go past the server."""

    __slots__ = ("shortcut", "there", "trials")

    def __init__(self, shortcut: ShortcutCalls, there: int) -> None:
        self.shortcut = shortcut
        self.there = there
        self.trials = Trials()


class RemoteCalls:
    """The calls of one engine that are out, over all its lines.

    Args:
        on_broken: As of `OpenCalls`, for the connection to the server.
        on_output: Gets what calls have printed that have not passed the server.
    """

    def __init__(
        self,
        on_broken: Callable[[str], None],
        on_output: Callable[[wire.Output, list[Buffer]], None],
    ) -> None:
        self._on_output = on_output
        self._trials = Trials()
        self._by_server = OpenCalls(on_broken)
        self._shortcuts: dict[int, ShortcutCalls] = {}
        self._ways: dict[int, _Way] = {}

    def make(self, controller: Controller, job: int, nodes: int = 2) -> RemoteCall | None:
        """A new call, to be sent at once; None while it is not worth trying.

        The connection must not be found lost until this has returned. The server is believed to have so
        many nodes.
        """
        way = self._ways.get(job)
        if way is not None:
            if way.trials.is_due():
                call = way.shortcut.make(job, way.there, way.trials)
                if call is not None:
                    return call
                if self._ways.get(job) is way:
                    self._ways.pop(job, None)
            elif nodes == 1:
                return None
        return self._by_server.make(controller, job, job, self._trials) if self._trials.is_due() else None

    def offered(self, controller: Controller, message: wire.Shortcut) -> None:
        """The server says that calls of a job may go over a shortcut, which perhaps comes with that."""
        number = message.shortcut
        if message.opens:
            end = socket_of(controller.claim())
            for old in [old for old, shortcut in list(self._shortcuts.items()) if shortcut.ended]:
                del self._shortcuts[old]
            if number in self._shortcuts or len(self._shortcuts) >= MAX_SHORTCUTS:
                end.close()
                raise ProtocolError(f"shortcut {number} was opened before, or is one too many")
            self._shortcuts[number] = ShortcutCalls(end, controller_loop(), self._on_output)
        shortcut = self._shortcuts.get(number)
        if shortcut is not None:
            shortcut.take(message.job, message.there)
            self._ways[message.job] = _Way(shortcut, message.there)

    def came(self, answer: wire.Answer, chunks: list[Buffer]) -> None:
        """An answer from the server; of a call that was given up it is dropped."""
        self._by_server.came(answer, chunks)

    def end(self, job: int | None = None) -> None:
        """The job is over, or all are: none of their calls will be answered."""
        self._by_server.end(job)
        if job is None:
            self._ways.clear()
        else:
            self._ways.pop(job, None)
        for shortcut in list(self._shortcuts.values()):
            shortcut.forget(job)

    def disconnect(self) -> None:
        """The connection is gone, and with it all that the server has made."""
        self._by_server.end()
        shortcuts, self._shortcuts, self._ways = self._shortcuts, {}, {}
        for shortcut in shortcuts.values():
            shortcut.close()

    def abandon(self) -> None:
        """In a forked child: forget what is the parent's."""
        shortcuts, self._shortcuts, self._ways = self._shortcuts, {}, {}
        for shortcut in shortcuts.values():
            shortcut.abandon()
