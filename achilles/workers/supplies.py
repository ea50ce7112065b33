"""What workers ask their parent for while they run: modules of the user's own, and blobs.

What was asked for once is kept for the session, the controller process that it came from, and is given to
the next worker that asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..memory_budget import usable_memory_bytes
from ..sealed import Buffer, Payload, Sealed
from . import channel
from .blob_store import OVER, BlobStore, BlobWaiter
from .fetching import Fetching
from .loop import Loop
from .module_source import ModuleSource
from .sessions import Sessions
from .worker import Worker

__all__ = ["Supplier", "Supplies"]


class Supplier(Protocol):
    """Whoever knows where modules and blobs come from."""

    def module_wanted(self, job: int, request: int, name: str) -> None:
        """A worker imports a module; answer with `Crew.module_arrived`."""

    def blob_wanted(
        self, job: int, request: int, sha256: str, total_bytes: int, start: int, size_bytes: int
    ) -> None:
        """A worker needs this piece of a blob; answer through `Crew.blobs`."""


class Supplies:
    """Answers what the workers of a crew ask.

    Args:
        workers: The live ones, by slot.
        supplier: Where to get what is not here.
        loop: For what takes longer.
        blob_budget_bytes: See `BlobStore`.
    """

    def __init__(
        self, workers: Mapping[int, Worker], supplier: Supplier, loop: Loop, blob_budget_bytes: int | None
    ) -> None:
        self._workers = workers
        self._supplier = supplier
        self._jobs: dict[int, str] = {}
        self._sessions = Sessions()
        self._fetching = Fetching(supplier.module_wanted)
        most_bytes = 0 if blob_budget_bytes is None else usable_memory_bytes() // 2
        self.blobs = BlobStore(self, loop, blob_budget_bytes, most_bytes)

    def job_came(self, job: int, session: str) -> None:
        """A job of a session is here."""
        self._jobs[job] = session
        if session not in self._sessions:
            self.blobs.end_session(session)  # it gets another number now
        self._sessions.use(session, set(self._jobs.values()))
        self.blobs.job_came(session)

    def job_went(self, job: int) -> None:
        """It is gone."""
        session = self._jobs.pop(job, None)
        if session is not None:
            self._fetching.forget(job)
            self.blobs.job_went(job, session)

    def session_of(self, job: int) -> int:
        """The number by which workers know a job's session."""
        return self._sessions[self._jobs[job]]

    def module_wanted(self, worker: Worker, job: int, request: int, name: str) -> None:
        """A worker imports a module."""
        session = self._jobs.get(job)
        if session is None:
            worker.send_module(job, request, ModuleSource.missing(name))
            return
        known = self._sessions.module(session, name)
        if known is not None:
            worker.send_module(job, request, known)
            return
        self._fetching.wait(session, name, (worker.slot, job, request))

    def module_arrived(self, request: int, module: ModuleSource) -> None:
        """A module came, or the news that there is none."""
        session, name, waiting = self._fetching.arrived(request)
        self._sessions.keep(session, name, module)
        for slot, job, worker_request in waiting:
            worker = self._workers.get(slot)
            if worker is not None:
                worker.send_module(job, worker_request, module)

    def blob_wanted(self, worker: Worker, job: int, request: int, size_bytes: int, sha256: Payload) -> None:
        """A worker needs a blob."""
        waiter = worker.slot, job, request
        session = self._jobs.get(job)
        if session is None or not isinstance(sha256, bytearray) or size_bytes <= 0:
            self.answer(waiter, None, OVER)
        else:
            self.blobs.wanted(session, self._sessions[session], sha256.hex(), size_bytes, waiter)

    def worker_gone(self, slot: int) -> None:
        """Its questions are nobody's."""
        self._fetching.worker_gone(slot)
        self.blobs.worker_died(slot)

    # What the store wants done.

    def ask(self, job: int, request: int, sha256: str, total_bytes: int, start: int, size_bytes: int) -> None:
        """Ask for a piece of a blob."""
        self._supplier.blob_wanted(job, request, sha256, total_bytes, start, size_bytes)

    def answer(self, waiter: BlobWaiter, payload: Buffer | Sealed | None, reason: str) -> None:
        """Give a worker a blob, or say why not."""
        slot, job, request = waiter
        worker = self._workers.get(slot)
        if worker is None:
            return
        if payload is None:
            worker.send(channel.BLOB, 1, job, request, segments=[reason.encode()])
        else:
            worker.send(
                channel.BLOB, 0, job, request, segments=payload if isinstance(payload, Sealed) else [payload]
            )

    def drop_at(self, slot: int, session: int, sha256: str) -> None:
        """Have a worker let go of a blob."""
        worker = self._workers.get(slot)
        if worker is not None:
            worker.send(channel.DROP_BLOB, a=session, segments=[bytes.fromhex(sha256)])
