"""What nodes keep for this process, as its caller gets it: in shared memory, or in pieces through the server.

Threads wait here for answers that come in the connection's loop. Whatever ends the connection or the job ends
the waiting: what a job made is gone with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..errors import ProtocolError
from ..kept import Reference, lost
from ..limits import PIECE_BYTES
from ..lineReceiver import messages as wire
from ..lineReceiver.wire import Buffer, gather
from ..sealed import SHARE_BYTES, Filling, Sealed
from ..workers.loop import SelectorLoop
from .interrupts import WAIT_S, opened, shielded

if TYPE_CHECKING:
    from .cluster import ClusterEngine
    from .job import Job

__all__ = ["CONNECTION_GONE", "ClusterKeeper", "KeptFetches"]

# Pieces that may be on their way at a time, for one value.
PIECES_AHEAD = 8
CONNECTION_GONE = "the connection to the server was lost, and with it what nodes kept"


class Line(Protocol):
    """The connection."""

    @property
    def takes_descriptors(self) -> bool:
        """Whether a payload could come by descriptor."""

    def send(self, message: wire.Message) -> None:
        """Send a frame."""

    def claim_beside(self, size_bytes: int) -> Sealed:
        """The shared memory that came with the frame at hand."""


class _Fetch:
    """A value on its way."""

    def __init__(self, job: int, reference: Reference) -> None:
        self.job = job
        self.reference = reference
        self.filling = Filling(reference.size_bytes)
        self.asked_bytes = 0
        self.got_bytes = 0
        self.payload: Buffer | Sealed | None = None
        self.reason = ""
        self.done = threading.Event()

    def end(self, reason: str) -> None:
        """It cannot be had."""
        self.reason = reason
        self.done.set()


class KeptFetches:
    """The values of one connection that threads wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fetches: dict[int, _Fetch] = {}
        self._serial = 0

    def fetch(
        self, line: Line, job: int, reference: Reference, why_not: Callable[[], str]
    ) -> Buffer | Sealed:
        """Get a value. Blocks.

        Args:
            line: Where to ask.
            job: In whose name, as the server knows it from this connection.
            reference: Which one.
            why_not: Asked once `end` would end this: why no answer will come, ``""`` if one may.

        Raises:
            KeptLost: It is gone.
        """
        fetch = _Fetch(job, reference)
        with self._lock:
            self._serial += 1
            request = self._serial
            self._fetches[request] = fetch
        try:
            if reason := why_not():
                raise lost(reference, reason)
            self._ask_ahead(line, request, fetch, 1)
            with opened():
                while not fetch.done.wait(WAIT_S):
                    pass
        finally:
            with self._lock:
                self._fetches.pop(request, None)
        if fetch.payload is None:
            raise lost(reference, fetch.reason)
        return fetch.payload

    def _ask_ahead(self, line: Line, request: int, fetch: _Fetch, pieces: int) -> None:
        total_bytes = fetch.reference.size_bytes
        end = min(fetch.got_bytes + pieces * PIECE_BYTES, total_bytes)
        while fetch.asked_bytes < end:
            start = fetch.asked_bytes
            fetch.asked_bytes += min(PIECE_BYTES, total_bytes - start)
            assert fetch.reference.holder is not None
            line.send(
                wire.FetchKept(
                    job=fetch.job,
                    request=request,
                    name=fetch.reference.name,
                    holder=fetch.reference.holder,
                    total=total_bytes,
                    start=start,
                    most=fetch.asked_bytes - start,
                    descriptor=start == 0 and total_bytes >= SHARE_BYTES and line.takes_descriptors,
                )
            )

    def came(self, line: Line, answer: wire.KeptPiece, chunks: list[Buffer]) -> None:
        """An answer is here. In the loop's thread.

        Raises:
            ProtocolError: It is not what was asked for.
        """
        shared = line.claim_beside(answer.total) if answer.descriptor else None
        fetch = self._fetches.get(answer.request)
        if fetch is None or fetch.done.is_set():
            return  # nobody waits any more
        if not answer.found:
            fetch.end(answer.reason)
            return
        total_bytes = fetch.reference.size_bytes
        due_bytes = min(PIECE_BYTES, total_bytes - fetch.got_bytes)
        size_bytes = answer.size if shared is None else due_bytes
        if (answer.total, answer.start, size_bytes) != (total_bytes, fetch.got_bytes, due_bytes):
            raise ProtocolError("a piece of a kept value is not what was asked for")
        if shared is not None:
            fetch.payload = shared
            fetch.done.set()
            return
        try:
            fetch.filling.write(gather(chunks))
        except (OSError, MemoryError) as error:
            fetch.end(f"this machine has no memory for it ({error})")
            return
        fetch.got_bytes += due_bytes
        if fetch.got_bytes < total_bytes:
            self._ask_ahead(line, answer.request, fetch, PIECES_AHEAD)
        else:
            fetch.payload = fetch.filling.seal()
            fetch.done.set()

    def end(self, reason: str, job: int | None = None) -> None:
        """No answer comes any more, to what was asked for this job or for any."""
        with self._lock:
            ended = [fetch for fetch in self._fetches.values() if job is None or fetch.job == job]
        for fetch in ended:
            if not fetch.done.is_set():
                fetch.end(reason)


class ClusterKeeper:
    """The nodes of a server as an `achilles.kept.Keeper`, for what was made in the name of one job.

    Args:
        engine: The connection.
        fetches: What threads wait for there.
        job: The job.
        loop: Where to let go of what nobody needs.
    """

    def __init__(self, engine: ClusterEngine, fetches: KeptFetches, job: Job, loop: SelectorLoop) -> None:
        self._engine = engine
        self._fetches = fetches
        self._job = job
        self._loop = loop
        self.origin: object = engine.origin

    def payload(self, reference: Reference) -> Buffer | Sealed:
        """The serialized value, from its node.

        Raises:
            KeptLost: It is gone.
        """
        with shielded():
            line = self._engine.line_of(self._job)
            if isinstance(line, str):
                raise lost(reference, line)

            def why_not() -> str:
                now = self._engine.line_of(self._job)
                return now if isinstance(now, str) else "" if now is line else CONNECTION_GONE

            return self._fetches.fetch(line, self._job.number, reference, why_not)

    def release(self, reference: Reference) -> None:
        """Let go of it, in the loop's thread: the garbage collector may hold any lock."""
        self._loop.callFromThread(self._drop, reference)

    def _drop(self, reference: Reference) -> None:
        line = self._engine.line_of(self._job)
        if not isinstance(line, str) and reference.holder is not None:
            line.send(wire.DropKept(name=reference.name, job=self._job.number, holder=reference.holder))
