"""What workers ask of their parent while they run: modules of the user's own, blobs, to keep what they made.

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
from .kept_store import GONE, KeptStore
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

    def kept_wanted(
        self, job: int, request: int, name: str, total_bytes: int, start: int, size_bytes: int, holder: int
    ) -> None:
        """A worker needs this piece of a value that another node keeps; answer likewise."""


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
        self.kept = KeptStore(self, self.blobs, blob_budget_bytes)

    def close(self) -> None:
        """Nobody needs anything any more."""
        self.kept.close()
        self.blobs.close()

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
            self.kept.job_went(job)

    def session_of(self, job: int) -> int:
        """The number by which workers know a job's session."""
        return self._sessions[self._jobs[job]]

    def asked(self, worker: Worker, kind: int, job: int, a: int, b: int, c: int, payload: Payload) -> None:
        """A worker asks for something, or sends what is to be kept."""
        if kind == channel.FETCH and isinstance(payload, bytearray):
            self.module_wanted(worker, job, a, payload.decode())
        elif kind == channel.FETCH_BLOB:
            self.blob_wanted(worker, job, a, b, payload, c)
        elif kind == channel.KEEP:
            self._keep(worker, job, a, payload)

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

    def blob_wanted(
        self, worker: Worker, job: int, request: int, size_bytes: int, name: Payload, where: int
    ) -> None:
        """A worker needs a blob, or a kept value."""
        waiter = worker.slot, job, request
        session = self._jobs.get(job)
        if session is None or not isinstance(name, bytearray) or size_bytes <= 0:
            self.answer(waiter, None, OVER)
            return
        number = self._sessions[session]
        if not where:
            self.blobs.wanted(session, number, name.hex(), size_bytes, waiter)
            return
        kept = self.kept.give(session, name.hex(), worker.slot)
        holder = where - 2 if where > 1 else None
        if kept is not None:
            self.answer(waiter, kept, "")
        elif holder is not None and holder == self.kept.holder:
            self.answer(waiter, None, GONE)
        else:
            # What a pool on the controller's own machine keeps, the controller has.
            self.blobs.wanted(
                session, number, name.hex(), size_bytes, waiter, is_named_by_hash=False, kept_at=holder
            )

    def _keep(self, worker: Worker, job: int, request: int, payload: Payload) -> None:
        session = self._jobs.get(job)
        name = None
        if session is not None:
            name = self.kept.keep(session, self._sessions[session], job, worker.slot, payload)
        if name is None:
            worker.send(channel.KEPT, 1, job, request)
        else:
            holder = 0 if self.kept.holder is None else self.kept.holder + 1
            said = bytes.fromhex(name) + self.kept.node.encode()
            worker.send(channel.KEPT, 0, job, request, holder, segments=[said])

    def worker_gone(self, slot: int) -> None:
        """Its questions are nobody's."""
        self._fetching.worker_gone(slot)
        self.blobs.worker_died(slot)
        self.kept.worker_died(slot)

    # What the store wants done.

    def ask(
        self,
        job: int,
        request: int,
        sha256: str,
        total_bytes: int,
        start: int,
        size_bytes: int,
        kept_at: int | None,
    ) -> None:
        """Ask for a piece of a blob."""
        if kept_at is None:
            self._supplier.blob_wanted(job, request, sha256, total_bytes, start, size_bytes)
        else:
            self._supplier.kept_wanted(job, request, sha256, total_bytes, start, size_bytes, kept_at)

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
