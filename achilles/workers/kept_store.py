"""The values that workers of this machine made and their controllers want to stay here.

Rules:

- A value belongs to the session of the job that made it: who asks in the name of another does not get it,
  whether worker or node. Names are random, so nobody finds one by asking for many.
- It is kept until it is dropped, or until the job is over that made it: a pool's calls are one job.
- What a worker made of a call whose result it has not sent is dropped when it dies: nobody heard of it.
- All values together stay within a part of what blobs may take here, which these then have less of. One for
  which there is no room is not taken.

Knows nothing of connections, and never unpickles.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

from ..sealed import HELD_DESCRIPTORS, Buffer, Sealed, open_descriptors
from .blob_store import BlobStore

__all__ = ["GONE", "KeptStore"]

# The part of a node's budget for blobs that kept values may take.
KEPT_PART = 2
NAME_BYTES = 32
GONE = "it was released, or the pool that it came from has ended"


# (session, name)
Name = tuple[str, str]


class Parent(Protocol):
    """Who tells workers."""

    def drop_at(self, slot: int, session: int, sha256: str) -> None:
        """A worker need not keep this of a session, which it knows by this number."""


class _Value(NamedTuple):
    payload: Buffer | Sealed
    number: int  # of its session, as workers know it
    job: int
    slots: set[int]  # of the workers that have it


class KeptStore:
    """Values of all sessions.

    Args:
        parent: Who tells workers.
        blobs: What is there besides, and takes less the more is kept.
        budget_bytes: What blobs may take; None where what is kept is memory of the caller's own anyway.

    Attributes:
        size_bytes: How much is kept.
        holder: This node's number at its server; None at the embedded engine.
        node: Its name, for people.
    """

    def __init__(self, parent: Parent, blobs: BlobStore, budget_bytes: int | None) -> None:
        self._parent = parent
        self._blobs = blobs
        self._most_bytes = None if budget_bytes is None else budget_bytes // KEPT_PART
        self._values: dict[Name, _Value] = {}
        self._of_job: dict[int, dict[Name, None]] = {}
        self._untold: dict[int, list[Name]] = {}  # slot -> what its unsent result may name
        self.size_bytes = 0
        self.holder: int | None = None
        self.node = ""

    def __len__(self) -> int:
        return len(self._values)

    def keep(self, session: str, number: int, job: int, slot: int, payload: Buffer | Sealed) -> str | None:
        """Take a value in.

        Args:
            session: Whose it is.
            number: How workers know that session.
            job: That made it.
            slot: Of the worker that sent it.
            payload: The serialized value.

        Returns:
            Its name; None when there is no room.
        """
        size_bytes = len(payload)
        if self._most_bytes is not None and self.size_bytes + size_bytes > self._most_bytes:
            return None
        if isinstance(payload, Sealed) and open_descriptors() > HELD_DESCRIPTORS:
            try:
                payload = payload.read()
            except MemoryError:
                return None
        name = os.urandom(NAME_BYTES).hex()
        self._values[session, name] = _Value(payload, number, job, set())
        self._of_job.setdefault(job, {})[session, name] = None
        self._untold.setdefault(slot, []).append((session, name))
        self._count(size_bytes)
        return name

    def find(self, session: str, name: str) -> Buffer | Sealed | None:
        """The value of that name, for who works for its session."""
        value = self._values.get((session, name))
        return None if value is None else value.payload

    def give(self, session: str, name: str, slot: int) -> Buffer | Sealed | None:
        """The same for a worker, which is told when it is dropped."""
        value = self._values.get((session, name))
        if value is None:
            return None
        value.slots.add(slot)
        return value.payload

    def drop(self, session: str, name: str) -> None:
        """Nobody needs it; harmless when repeated."""
        value = self._values.pop((session, name), None)
        if value is not None:
            of_job = self._of_job[value.job]
            del of_job[session, name]
            if not of_job:
                del self._of_job[value.job]
            self._count(-len(value.payload))
            for slot in value.slots:
                self._parent.drop_at(slot, value.number, name)

    def unit_over(self, slot: int) -> None:
        """A worker's result is here, which names what it made."""
        if self._untold:
            self._untold.pop(slot, None)

    def worker_died(self, slot: int) -> None:
        """A worker is gone, and what it had with it."""
        for name in self._untold.pop(slot, ()):
            self.drop(*name)
        for value in self._values.values():
            value.slots.discard(slot)

    def job_went(self, job: int) -> None:
        """A job is over, and with it what it made."""
        for name in list(self._of_job.get(job, ())):
            self.drop(*name)

    def close(self) -> None:
        """Nobody needs anything any more."""
        self._values.clear()
        self._of_job.clear()
        self._untold.clear()
        self._count(-self.size_bytes)

    def _count(self, more_bytes: int) -> None:
        self.size_bytes += more_bytes
        self._blobs.reserve(self.size_bytes)
