"""Single calls on their way through the server, past its scheduler.

The scheduler is asked only where the calls of a job go (`achilles.core.call_places`); then each is passed on
as it comes, with a number of the server's own, and so is its answer. The next may go another way, of which
`achilles.lineReceiver.server_shortcuts` tells.

Rules:

1. Every call is answered once: by its node, or here when that is not to be expected any more, because the
   node or the job is gone. Who gave a call up, or left, hears nothing; what his node says is dropped.
2. No payload is kept. A call goes only to a node that reads what was sent to it.
3. A controller has at most `MAX_CALLS` calls out.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from ..core import scheduler_events as ev
from ..errors import ProtocolError
from . import messages as wire
from .call_frames import MAX_CALLS
from .server_jobs import RoutedJob
from .server_shortcuts import Shortcuts
from .wire import Buffer

if TYPE_CHECKING:
    from .server import AchillesServer
    from .server_connection import ServerConnection

__all__ = ["MAX_CALLS", "Calls"]


class _Open:
    """A call that was passed on and is not answered."""

    __slots__ = ("controller", "job", "node", "number", "theirs")

    def __init__(self, number: int, controller: ServerConnection, theirs: int, job: int, node: int) -> None:
        self.number = number
        self.controller = controller
        self.theirs = theirs  # its number at the controller
        self.job = job
        self.node = node


class Calls:
    """All calls that are out.

    Args:
        server: Knows jobs, nodes and controllers, and asks the scheduler.
    """

    def __init__(self, server: AchillesServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._newest = 0
        self._open: dict[int, _Open] = {}
        self._theirs: dict[ServerConnection, dict[int, _Open]] = {}
        self._shortcuts = Shortcuts()

    def __len__(self) -> int:
        return len(self._open)

    def came(self, controller: ServerConnection, call: wire.Call, chunks: list[Buffer]) -> None:
        """A controller makes a call."""
        out = self._theirs.get(controller)
        if out is None:
            out = self._theirs[controller] = {}
        if call.call in out:
            raise ProtocolError(f"call {call.call} was made before, and has no answer yet")
        server = self._server
        number = server.jobs.number_of(controller.number, call.job)
        node = None if number is None or len(out) >= MAX_CALLS else self._node_for(server.jobs.live[number])
        if number is None or node is None or node.unsent_bytes > wire.MAX_CALL_BYTES:
            controller.send(wire.Answer(call.call, wire.CALL_REFUSED, 0))
            return
        self._newest = ours = next(self._numbers)
        self._open[ours] = out[call.call] = _Open(ours, controller, call.call, number, node.number)
        node.send(wire.Call(number, ours, call.index), chunks)

    def _node_for(self, job: RoutedJob) -> ServerConnection | None:
        """Where the job's calls go."""
        server = self._server
        state = server.scheduler.nodes.get(job.calls_at)
        if state is None or state.draining:
            refused_by, job.calls_at = job.calls_refused_by, -1
            server.tell(ev.PlaceWanted(time.monotonic_ns(), job.number, refused_by))
        return server.nodes.get(job.calls_at)

    def answered(self, node: ServerConnection, answer: wire.Answer, chunks: list[Buffer]) -> None:
        """A node answers a call."""
        call = self._open.get(answer.call)
        if call is None or call.node != node.number:
            if call is not None or answer.call > self._newest:
                raise ProtocolError(f"call {answer.call} was answered by a node that it was not sent to")
            return  # given up in the meantime
        self._close(call)
        status, job = answer.status, self._server.jobs.live.get(call.job)
        if status == wire.CALL_REFUSED and job is not None:
            job.calls_at, job.calls_refused_by = -1, node.number
        answer.call = call.theirs
        call.controller.send(answer, chunks)
        if status < wire.CALL_REFUSED and job is not None and job.calls_at == node.number:
            self._shortcuts.offer(job, call.controller, node)

    def given_up(self, controller: ServerConnection, message: wire.GiveUp, _: list[Buffer]) -> None:
        """A controller does not wait for a call any more."""
        call = self._theirs.get(controller, {}).get(message.call)
        if call is not None:
            self._close(call)
            self._server.nodes[call.node].send(wire.GiveUp(call=call.number))

    def node_left(self, node: ServerConnection) -> None:
        """A node is gone, and what it had to answer."""
        for call in [call for call in self._open.values() if call.node == node.number]:
            self._lost(call)
        self._shortcuts.party_left(node)

    def controller_left(self, controller: ServerConnection) -> None:
        """A controller is gone; its jobs go as well, and with them what runs of its calls."""
        self._shortcuts.party_left(controller)
        for call in list(self._theirs.get(controller, {}).values()):
            self._close(call)
        self._theirs.pop(controller, None)

    def job_gone(self, job: int, controller: int) -> None:
        """A job is over: its nodes are told to forget it."""
        connection = self._server.controllers.get(controller)
        out = None if connection is None else self._theirs.get(connection)
        for call in [call for call in out.values() if call.job == job] if out else ():
            self._lost(call)

    def _lost(self, call: _Open) -> None:
        self._close(call)
        call.controller.send(wire.Answer(call.theirs, wire.CALL_LOST, 0))

    def _close(self, call: _Open) -> None:
        del self._open[call.number]
        del self._theirs[call.controller][call.theirs]
