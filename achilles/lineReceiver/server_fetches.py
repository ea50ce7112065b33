"""What workers ask their controllers for, on its way through the server: modules, and pieces of blobs.

Nothing is kept: a question is a few numbers, and an answer goes on as it came. Pieces of blobs come only as
they are asked for, and a question goes on only when its answer has room: beside what was asked for and
what waits already for nodes that ask, it must fit into the server's memory budget, and of one node that
may be `MAX_UNREAD_BYTES`. Other questions of that node wait behind it, in order.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..errors import ProtocolError
from ..workers.blob_store import OVER
from . import messages as wire
from .wire import Buffer

if TYPE_CHECKING:
    from .server import AchillesServer
    from .server_connection import ServerConnection

__all__ = ["MAX_FETCHES", "Fetches"]

# Answers that one node may wait for.
MAX_FETCHES = 4096
# What may be on its way to one node, or wait for it, when it asks for a piece of a blob.
MAX_UNREAD_BYTES = 16 * 1024 * 1024
# How often to look whether there is room again, while questions wait for it.
LOOK_S = 0.02


class _Asked(NamedTuple):
    node: int
    request: int  # as the node numbers it
    job: int
    most_bytes: int  # of a piece of a blob; 0: a module
    descriptor: bool = False


class Fetches:
    """The questions that are out, and those that wait.

    Args:
        server: Knows nodes, controllers and jobs.
    """

    def __init__(self, server: AchillesServer) -> None:
        self._server = server
        self._asked: dict[int, _Asked] = {}
        self._serial = itertools.count(1)
        self._open_of: dict[int, int] = {}  # node -> how many answers it waits for
        self._asked_bytes_of: dict[int, int] = {}  # node -> pieces that were asked for and have not come
        self._held: dict[int, deque[wire.FetchBlob]] = {}  # node -> its questions that wait for room
        self._looking = False

    # Nodes ask.

    def module_wanted(self, connection: ServerConnection, fetch: wire.Fetch, _: list[Buffer]) -> None:
        """A node asks for a module."""
        job = self._answering(connection, fetch.job)
        if job is None:
            connection.send(wire.Fetched(fetch.job, fetch.request, False))
            return
        self._count(connection.number, 1)
        request = self._note(_Asked(connection.number, fetch.request, fetch.job, 0))
        local_number, controller = job
        controller.send(wire.Fetch(local_number, request, fetch.module))

    def blob_wanted(self, connection: ServerConnection, fetch: wire.FetchBlob, _: list[Buffer]) -> None:
        """A node asks for a piece of a blob."""
        self._count(connection.number, 1)
        held = self._held.get(connection.number)
        if held is not None:
            held.append(fetch)
        elif self._has_room(connection, fetch.most):
            self._ask(connection, fetch)
        else:
            self._held[connection.number] = deque([fetch])
            self._look_later()

    def _ask(self, connection: ServerConnection, fetch: wire.FetchBlob) -> None:
        job = self._answering(connection, fetch.job)
        if job is None:
            self._count(connection.number, -1)
            connection.send(wire.Blob(job=fetch.job, request=fetch.request, found=False, reason=OVER))
            return
        local_number, controller = job
        whole = fetch.descriptor and connection.takes_descriptors and controller.takes_descriptors
        asked = _Asked(connection.number, fetch.request, fetch.job, fetch.most, whole)
        request = self._note(asked)
        self._asked_bytes_of[asked.node] = self._asked_bytes_of.get(asked.node, 0) + fetch.most
        controller.send(
            msgspec.structs.replace(fetch, job=local_number, request=request, descriptor=whole, size=0)
        )

    def _answering(self, connection: ServerConnection, number: int) -> tuple[int, ServerConnection] | None:
        """A job's number at its controller, and that; only who works for a controller may ask it."""
        server = self._server
        job = server.jobs.live.get(number)
        controller = None if job is None else server.controllers.get(job.controller)
        node = server.scheduler.nodes.get(connection.number)
        if job is None or controller is None or node is None or number not in node.jobs:
            return None
        return job.local_number, controller

    def _count(self, node: int, more: int) -> None:
        waiting = self._open_of.get(node, 0) + more
        if waiting > MAX_FETCHES:
            raise ProtocolError(f"a node waits for at most {MAX_FETCHES} modules and pieces of blobs")
        if waiting:
            self._open_of[node] = waiting
        else:
            del self._open_of[node]

    def _note(self, asked: _Asked) -> int:
        request = next(self._serial)
        self._asked[request] = asked
        return request

    # Controllers answer.

    def module_came(self, connection: ServerConnection, answer: wire.Fetched, chunks: list[Buffer]) -> None:
        """A controller sends a module, or says that it has none."""
        asked = self._asked.get(answer.request)
        if asked is None or asked.most_bytes or not self._is_answer(connection, answer.job, asked):
            return
        self._drop(answer.request)
        node = self._server.nodes.get(asked.node)
        if node is not None:
            node.send(msgspec.structs.replace(answer, job=asked.job, request=asked.request), chunks)

    def blob_came(self, connection: ServerConnection, answer: wire.Blob, chunks: list[Buffer]) -> None:
        """A controller sends a piece of a blob, or the whole in shared memory, or says that it has none."""
        shared = connection.claim_beside(answer.total) if answer.descriptor else None
        asked = self._asked.get(answer.request)
        if asked is None or not asked.most_bytes or not self._is_answer(connection, answer.job, asked):
            if answer.size > wire.MAX_PIECE_BYTES:
                raise ProtocolError(f"a piece of a blob has at most {wire.MAX_PIECE_BYTES} bytes")
            return
        if answer.size > asked.most_bytes or (shared is not None and not asked.descriptor):
            raise ProtocolError(f"a piece of a blob of at most {asked.most_bytes} bytes was asked for")
        self._drop(answer.request)
        node = self._server.nodes.get(asked.node)
        if node is not None:
            onward = msgspec.structs.replace(answer, job=asked.job, request=asked.request)
            if shared is None:
                node.send(onward, chunks)
            elif not node.send_beside(onward, shared):
                # Its first piece, as if no descriptor had been asked for; the node asks for the others.
                onward.descriptor = False
                node.send(onward, [shared.part(0, min(asked.most_bytes, len(shared))).read()])
        self._look()

    def _is_answer(self, connection: ServerConnection, local_number: int, asked: _Asked) -> bool:
        return self._server.jobs.number_of(connection.number, local_number) == asked.job

    # Who asked is gone.

    def node_lost(self, node: int) -> None:
        """It waits for nothing any more."""
        self._held.pop(node, None)
        for request in [request for request, asked in self._asked.items() if asked.node == node]:
            self._drop(request)
        self._open_of.pop(node, None)

    def job_gone(self, job: int) -> None:
        """Nobody answers for it any more, and nobody waits for that."""
        for request in [request for request, asked in self._asked.items() if asked.job == job]:
            self._drop(request)

    def _drop(self, request: int) -> None:
        asked = self._asked.pop(request)
        if asked.most_bytes:
            self._asked_bytes_of[asked.node] -= asked.most_bytes
            if not self._asked_bytes_of[asked.node]:
                del self._asked_bytes_of[asked.node]
        self._count(asked.node, -1)

    # Room.

    def _has_room(self, connection: ServerConnection, more_bytes: int) -> bool:
        for_it_bytes = connection.unsent_bytes + self._asked_bytes_of.get(connection.number, 0) + more_bytes
        if for_it_bytes > MAX_UNREAD_BYTES:
            return False
        asked_bytes = sum(self._asked_bytes_of.values())
        if not asked_bytes and for_it_bytes == more_bytes:
            return True  # also when a piece is larger than the whole budget
        nodes = self._server.nodes
        waiting_bytes = sum([nodes[node].unsent_bytes for node in self._open_of if node in nodes])
        return asked_bytes + waiting_bytes + more_bytes <= self._server.budget_bytes

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._server.reactor.callLater(LOOK_S, self._look_again)

    def _look_again(self) -> None:
        self._looking = False
        self._look()
        if self._held:
            self._look_later()

    def _look(self) -> None:
        """Pass on what there is room for, one question of each node after the other."""
        passed = bool(self._held)
        while passed:
            passed = False
            for number, held in list(self._held.items()):
                connection = self._server.nodes.get(number)
                if connection is not None and self._has_room(connection, held[0].most):
                    self._ask(connection, held.popleft())
                    passed = True
                if connection is None or not held:
                    self._held.pop(number, None)
