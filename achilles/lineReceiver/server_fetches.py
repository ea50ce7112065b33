"""What workers ask their controllers for, on its way through the server: modules, and pieces of blobs; and
pieces of what other nodes keep, for workers and controllers.

Nothing is kept: a question is a few numbers, and an answer goes on as it came. Pieces come only as
they are asked for, and a question goes on only when its answer has room: beside what was asked for and
what waits already for those that ask, it must fit into the server's memory budget, and of one party that
may be `MAX_UNREAD_BYTES`. Other questions of that party wait behind it, in order.

Of what a node keeps, others get what belongs to the session of the job in whose name they ask.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..errors import ProtocolError
from ..sealed import Sealed
from ..workers.blob_store import OVER
from . import messages as wire
from .kept_copies import KeptCopies
from .wire import Buffer

if TYPE_CHECKING:
    from .server import AchillesServer
    from .server_connection import ServerConnection
    from .server_jobs import RoutedJob

__all__ = ["MAX_FETCHES", "Fetches"]

# Answers that one party may wait for.
MAX_FETCHES = 4096
# What may be on its way to one party, or wait for it, when it asks for a piece.
MAX_UNREAD_BYTES = 16 * 1024 * 1024
# How often to look whether there is room again, while questions wait for it.
LOOK_S = 0.02
NODE_GONE = "its node is gone"

Question = wire.FetchBlob | wire.FetchKept


class _Asked(NamedTuple):
    asker: ServerConnection
    request: int  # as the asker numbers it
    job: int  # likewise
    number: int  # of that job, at the server
    most_bytes: int  # of a piece; 0: a module
    descriptor: bool = False
    holder: ServerConnection | None = None  # the node that is asked; None: the job's controller
    kept: tuple[str, str] = ("", "")  # the session and the name of what is asked for there


class Fetches:
    """The questions that are out, and those that wait.

    Args:
        server: Knows nodes, controllers and jobs.
    """

    def __init__(self, server: AchillesServer) -> None:
        self._server = server
        self._asked: dict[int, _Asked] = {}
        self._serial = itertools.count(1)
        # How many answers a party waits for; pieces that it asked for and that have not come; its questions
        # that wait for room.
        self._open_of: dict[ServerConnection, int] = {}
        self._asked_bytes_of: dict[ServerConnection, int] = {}
        self._held: dict[ServerConnection, deque[Question]] = {}
        self._copies = KeptCopies()
        self._looking = False

    # Nodes ask, and controllers.

    def module_wanted(self, connection: ServerConnection, fetch: wire.Fetch, _: list[Buffer]) -> None:
        """A node asks for a module."""
        job = self._answering(connection, fetch.job)
        if job is None:
            connection.send(wire.Fetched(fetch.job, fetch.request, False))
            return
        self._count(connection, 1)
        request = self._note(_Asked(connection, fetch.request, fetch.job, fetch.job, 0))
        local_number, controller = job
        controller.send(wire.Fetch(local_number, request, fetch.module))

    def piece_wanted(self, connection: ServerConnection, fetch: Question, _: list[Buffer]) -> None:
        """A node asks for a piece of a blob; or a node or a controller for one of what another node keeps."""
        self._count(connection, 1)
        held = self._held.get(connection)
        if held is not None:
            held.append(fetch)
        elif self._has_room(connection, fetch.most):
            self._ask(connection, fetch)
        else:
            self._held[connection] = deque([fetch])
            self._look_later()

    def _ask(self, connection: ServerConnection, fetch: Question) -> None:
        if isinstance(fetch, wire.FetchKept):
            self._ask_holder(connection, fetch)
            return
        job = self._answering(connection, fetch.job)
        if job is None:
            self._count(connection, -1)
            connection.send(wire.Blob(job=fetch.job, request=fetch.request, found=False, reason=OVER))
            return
        local_number, controller = job
        whole = fetch.descriptor and connection.takes_descriptors and controller.takes_descriptors
        request = self._note(_Asked(connection, fetch.request, fetch.job, fetch.job, fetch.most, whole))
        controller.send(
            msgspec.structs.replace(fetch, job=local_number, request=request, descriptor=whole, size=0)
        )

    def _ask_holder(self, connection: ServerConnection, fetch: wire.FetchKept) -> None:
        job = self._job_of(connection, fetch.job)
        holder = self._server.nodes.get(fetch.holder)
        if job is None or holder is None or not holder.keeps:
            self._count(connection, -1)
            self._refuse_kept(connection, fetch, OVER if job is None else NODE_GONE)
            return
        whole = fetch.descriptor and connection.takes_descriptors and holder.takes_descriptors
        kept = job.session, fetch.name
        request = self._note(
            _Asked(connection, fetch.request, fetch.job, job.number, fetch.most, whole, holder, kept)
        )
        holder.send(
            msgspec.structs.replace(
                fetch, job=0, request=request, descriptor=whole, session=job.session, size=0
            )
        )

    def _refuse_kept(
        self, connection: ServerConnection, question: wire.FetchKept | _Asked, reason: str
    ) -> None:
        connection.send(
            wire.KeptPiece(job=question.job, request=question.request, found=False, reason=reason)
        )

    def _job_of(self, connection: ServerConnection, number: int) -> RoutedJob | None:
        """The job that a party means by this number: one of its own, or one that it works for."""
        server = self._server
        if not connection.is_node:
            found = server.jobs.number_of(connection.number, number)
            return None if found is None else server.jobs.live.get(found)
        return None if self._answering(connection, number) is None else server.jobs.live[number]

    def _answering(self, connection: ServerConnection, number: int) -> tuple[int, ServerConnection] | None:
        """A job's number at its controller, and that; only who works for a controller may ask it."""
        server = self._server
        job = server.jobs.live.get(number)
        controller = None if job is None else server.controllers.get(job.controller)
        node = server.scheduler.nodes.get(connection.number)
        if job is None or controller is None or node is None or number not in node.jobs:
            return None
        return job.local_number, controller

    def _count(self, asker: ServerConnection, more: int) -> None:
        waiting = self._open_of.get(asker, 0) + more
        if waiting > MAX_FETCHES:
            raise ProtocolError(f"a node waits for at most {MAX_FETCHES} modules and pieces of blobs")
        if waiting:
            self._open_of[asker] = waiting
        else:
            del self._open_of[asker]

    def _note(self, asked: _Asked) -> int:
        request = next(self._serial)
        self._asked[request] = asked
        if asked.most_bytes:
            asked_bytes = self._asked_bytes_of.get(asked.asker, 0)
            self._asked_bytes_of[asked.asker] = asked_bytes + asked.most_bytes
        return request

    # Controllers answer, and nodes.

    def module_came(self, connection: ServerConnection, answer: wire.Fetched, chunks: list[Buffer]) -> None:
        """A controller sends a module, or says that it has none."""
        asked = self._asked.get(answer.request)
        if asked is None or asked.most_bytes or not self._is_answer(connection, answer.job, asked):
            return
        self._drop(answer.request)
        asked.asker.send(msgspec.structs.replace(answer, job=asked.job, request=asked.request), chunks)

    def blob_came(self, connection: ServerConnection, answer: wire.Blob, chunks: list[Buffer]) -> None:
        """A controller sends a piece of a blob, or the whole in shared memory, or says that it has none."""
        shared = connection.claim_beside(answer.total) if answer.descriptor else None
        asked = self._asked.get(answer.request)
        if asked is None or not asked.most_bytes or not self._is_answer(connection, answer.job, asked):
            self._check_piece(answer)
        else:
            self._pass_on(asked, answer, chunks, shared)

    def kept_came(self, connection: ServerConnection, answer: wire.KeptPiece, chunks: list[Buffer]) -> None:
        """A node sends a piece of what it keeps, or the whole, or says that it has none."""
        shared = connection.claim_beside(answer.total) if answer.descriptor else None
        asked = self._asked.get(answer.request)
        if asked is None or asked.holder is not connection:
            self._check_piece(answer)
            return
        asked.asker.kept_fetched_bytes += self._pass_on(asked, answer, chunks, shared)
        if answer.found and asked.asker.is_node:
            self._copies.add(*asked.kept, connection.number, asked.asker.number)

    def _check_piece(self, answer: wire.Blob | wire.KeptPiece) -> None:
        """Whatever nobody waits for any more."""
        if answer.size > wire.MAX_PIECE_BYTES:
            raise ProtocolError(f"a piece of a blob has at most {wire.MAX_PIECE_BYTES} bytes")

    def _pass_on(
        self,
        asked: _Asked,
        answer: wire.Blob | wire.KeptPiece,
        chunks: list[Buffer],
        shared: Sealed | None,
    ) -> int:
        """Send an answer to who asked; how many bytes that were."""
        if answer.size > asked.most_bytes or (shared is not None and not asked.descriptor):
            raise ProtocolError(f"a piece of a blob of at most {asked.most_bytes} bytes was asked for")
        self._drop(answer.request)
        onward = msgspec.structs.replace(answer, job=asked.job, request=asked.request)
        sent_bytes = answer.size if shared is None else len(shared)
        if shared is None:
            asked.asker.send(onward, chunks)
        elif not asked.asker.send_beside(onward, shared):
            # Its first piece, as if no descriptor had been asked for; who asked does so for the others.
            onward.descriptor = False
            sent_bytes = min(asked.most_bytes, len(shared))
            asked.asker.send(onward, [shared.part(0, sent_bytes).read()])
        self._look()
        return sent_bytes

    def _is_answer(self, connection: ServerConnection, local_number: int, asked: _Asked) -> bool:
        is_number = self._server.jobs.number_of(connection.number, local_number) == asked.number
        return is_number and asked.holder is None

    # What is kept is not needed any more.

    def kept_dropped(self, connection: ServerConnection, message: wire.DropKept, _: list[Buffer]) -> None:
        """A controller has let go of what a node keeps: that drops it, and those that fetched it do."""
        job = self._job_of(connection, message.job)
        if job is None:
            return  # with the job goes what it made
        numbers = {message.holder} | self._copies.take(job.session, message.name)
        self._tell_dropped(job.session, message.name, numbers)

    def _tell_dropped(self, session: str, name: str, numbers: set[int]) -> None:
        for number in numbers:
            node = self._server.nodes.get(number)
            if node is not None and node.keeps:
                node.send(wire.DropKept(name=name, session=session))

    # Who asked is gone.

    def party_lost(self, party: ServerConnection) -> None:
        """It waits for nothing any more, and answers nothing."""
        self._held.pop(party, None)
        for request, asked in list(self._asked.items()):
            if asked.asker is party:
                self._drop(request)
            elif asked.holder is party:
                self._drop(request)
                self._refuse_kept(asked.asker, asked, NODE_GONE)
        self._open_of.pop(party, None)
        if party.is_node:
            # A value ends with its node: nobody can say later that it is not needed.
            for copies in self._copies.take_of(party.number):
                self._tell_dropped(*copies)

    def job_gone(self, job: RoutedJob) -> None:
        """Nobody answers for it any more, and nobody waits for that."""
        for request, asked in list(self._asked.items()):
            if asked.number == job.number:
                self._drop(request)
                if asked.holder is not None:
                    self._refuse_kept(asked.asker, asked, OVER)
        others: Iterable[RoutedJob] = self._server.jobs.live.values()
        if job.session in self._copies and all(other.session != job.session for other in others):
            self._copies.forget(job.session)

    def _drop(self, request: int) -> None:
        asked = self._asked.pop(request)
        if asked.most_bytes:
            self._asked_bytes_of[asked.asker] -= asked.most_bytes
            if not self._asked_bytes_of[asked.asker]:
                del self._asked_bytes_of[asked.asker]
        self._count(asked.asker, -1)

    # Room.

    def _has_room(self, connection: ServerConnection, more_bytes: int) -> bool:
        for_it_bytes = connection.unsent_bytes + self._asked_bytes_of.get(connection, 0) + more_bytes
        if for_it_bytes > MAX_UNREAD_BYTES:
            return False
        asked_bytes = sum(self._asked_bytes_of.values())
        if not asked_bytes and for_it_bytes == more_bytes:
            return True  # also when a piece is larger than the whole budget
        waiting_bytes = sum([party.unsent_bytes for party in self._open_of])
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
        """Pass on what there is room for, one question of each party after the other."""
        passed = bool(self._held)
        while passed:
            passed = False
            for party, held in list(self._held.items()):
                if self._has_room(party, held[0].most):
                    self._ask(party, held.popleft())
                    passed = True
                if not held:
                    self._held.pop(party, None)
