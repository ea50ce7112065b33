"""The blobs that a machine's workers use: fetched once, kept once, and handed to every worker that asks.

A blob comes whole, in shared memory, or in pieces that are asked for one after the other, a few ahead.
Whoever asked first lends his job to the questions; when that job is gone another one that waits does.

Rules:

- Nothing is believed: each piece must be the one that is due, and size and SHA-256 of the whole must be
  what was asked for. What is not is refused, and whoever waits is told. Of a kept value of another node
  (`achilles.workers.kept_store`), whose name says nothing of its content, the size must be.
- A blob belongs to the session in whose name it came. It is kept while jobs of the session are here and for
  `KEEP_IDLE_S` after the last, for the program's next call.
- All blobs together, those on their way among them, stay within the budget: what was asked for least
  recently is dropped first, and asked for again when it is needed. Workers let go of it between units.
  A single one may go beyond the budget, alone, unless it is larger than any that could be kept.
- The loop is never held up for long: a whole blob is hashed in parts.

Knows nothing of connections, and never unpickles.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple, Protocol

from ..limits import PIECE_BYTES
from ..sealed import Buffer, Filling, Payload, Sealed
from .loop import Loop

__all__ = ["OVER", "BlobStore", "BlobWaiter"]

# Pieces that may be on their way at a time, for one blob.
PIECES_AHEAD = 8
KEEP_IDLE_S = 10.0
# Hashed between two looks at whatever else there is to do; takes a few milliseconds.
HASH_BYTES = 4 * 1024 * 1024
OVER = "the job that it belongs to is over"
_TOO_LARGE = "a node takes at most {:,} bytes in one object, half of its memory or its MEMORY_BUDGET"

# (slot of the worker, job, the worker's own number of its question)
BlobWaiter = tuple[int, int, int]
# (session, SHA-256)
Name = tuple[str, str]


class Parent(Protocol):
    """Whom the store asks and answers."""

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
        """Ask for this piece; with ``start`` 0 the answer may be the whole. An answer may never come.

        ``kept_at``: the node that keeps it; None: the controller has it.
        """

    def answer(self, waiter: BlobWaiter, payload: Buffer | Sealed | None, reason: str) -> None:
        """Give a worker what it waits for, or the reason why it cannot be had."""

    def drop_at(self, slot: int, session: int, sha256: str) -> None:
        """Tell a worker that it need not keep this of a session, which it knows by this number."""


class _Kept(NamedTuple):
    payload: Buffer | Sealed
    session: int  # the number by which workers know it
    slots: set[int]  # of the workers that have it


class _Coming:
    """A blob on its way."""

    __slots__ = (
        "asked_bytes",
        "digest",
        "filling",
        "got_bytes",
        "is_named_by_hash",
        "job",
        "kept_at",
        "name",
        "request",
        "session",
        "size_bytes",
        "waiting",
    )

    def __init__(self, name: Name, session: int, size_bytes: int, waiter: BlobWaiter) -> None:
        self.name = name
        self.session = session
        self.size_bytes = size_bytes
        self.waiting = [waiter]
        self.job = waiter[1]
        self.request = 0
        self.filling: Filling | None = Filling(size_bytes)
        self.digest: Any = None
        self.got_bytes = 0
        self.asked_bytes = 0
        self.is_named_by_hash = True
        self.kept_at: int | None = None


def _new_digest() -> Any:
    import hashlib  # what an undisturbed call on this machine's cores can do without

    return hashlib.sha256()


class BlobStore:
    """Blobs of all sessions.

    Args:
        parent: Whom to ask and to answer.
        loop: For what takes longer.
        budget_bytes: How much may be kept; None when it is the memory of this very process anyway: then
            nothing is dropped before `drop` says so, and nothing that comes is checked.
        most_bytes: How large one may be that is larger than the budget.
    """

    def __init__(self, parent: Parent, loop: Loop, budget_bytes: int | None, most_bytes: int = 0) -> None:
        self._parent = parent
        self._loop = loop
        self._budget_bytes = budget_bytes
        self._most_bytes = max(budget_bytes or 0, most_bytes)
        self._kept: OrderedDict[Name, _Kept] = OrderedDict()  # the one asked for last at the end
        self._coming: dict[Name, _Coming] = {}
        self._requests: dict[int, _Coming] = {}
        self._serial = 0
        self._reserved_bytes = 0
        self._busy: dict[str, int] = {}  # session -> its live jobs
        self._idle: dict[str, Any] = {}  # session -> the call that ends its time

    # Jobs and workers come and go.

    def job_came(self, session: str) -> None:
        """One more job of a session is here."""
        self._busy[session] = self._busy.get(session, 0) + 1
        ending = self._idle.pop(session, None)
        if ending is not None:
            ending.cancel()

    def job_went(self, job: int, session: str) -> None:
        """A job is gone: no answer comes to what was asked in its name."""
        for coming in list(self._coming.values()):
            for waiter in [waiter for waiter in coming.waiting if waiter[1] == job]:
                coming.waiting.remove(waiter)
                self._parent.answer(waiter, None, OVER)  # a thread that its task left behind may wait
            if not coming.waiting:
                self._forget(coming)
            elif coming.job == job:
                coming.job = coming.waiting[0][1]
                if coming.request and coming.filling is not None:
                    coming.asked_bytes = coming.got_bytes
                    self._ask(coming)
        self._begin_next()
        self._busy[session] -= 1
        if not self._busy[session]:
            del self._busy[session]
            if self._budget_bytes is not None and any(name[0] == session for name in self._kept):
                self._idle[session] = self._loop.callLater(KEEP_IDLE_S, self.end_session, session)

    def worker_died(self, slot: int) -> None:
        """A worker is gone, and what it had with it."""
        for kept in self._kept.values():
            kept.slots.discard(slot)
        for coming in list(self._coming.values()):
            coming.waiting = [waiter for waiter in coming.waiting if waiter[0] != slot]
            if not coming.waiting:
                self._forget(coming)
        self._begin_next()

    def end_session(self, session: str) -> None:
        """What a session has here is not needed any more."""
        ending = self._idle.pop(session, None)
        if ending is not None and ending.active():
            ending.cancel()
        for name in [name for name in self._kept if name[0] == session]:
            self._drop(name)

    def drop(self, sha256: str) -> None:
        """Who made it has let go of it."""
        for name in [name for name in self._kept if name[1] == sha256]:
            self._drop(name)

    def drop_of(self, session: str, name: str) -> None:
        """Who keeps it for a session has let go of it; harmless when it is not here."""
        if (session, name) in self._kept:
            self._drop((session, name))

    def close(self) -> None:
        """Nobody needs anything any more."""
        for ending in self._idle.values():
            ending.cancel()
        self._idle.clear()
        self._kept.clear()
        self._coming.clear()
        self._requests.clear()

    # Workers ask.

    def wanted(
        self,
        session: str,
        number: int,
        sha256: str,
        size_bytes: int,
        waiter: BlobWaiter,
        *,
        is_named_by_hash: bool = True,
        kept_at: int | None = None,
    ) -> None:
        """Have a worker get a blob, now or when it is here.

        Args:
            session: Whose it is.
            number: How workers know the session.
            sha256: Its name.
            size_bytes: Its length.
            waiter: Who wants it.
            is_named_by_hash: Whether the name is its SHA-256, and not that of a kept value.
            kept_at: The node that keeps it; None: the controller has it.
        """
        name = session, sha256
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            self._give(name, kept, waiter, size_bytes)
            return
        coming = self._coming.get(name)
        if coming is None:
            if self._budget_bytes is not None and size_bytes > self._most_bytes:
                self._parent.answer(waiter, None, _TOO_LARGE.format(self._most_bytes))
                return
            coming = self._coming[name] = _Coming(name, number, size_bytes, waiter)
            coming.is_named_by_hash, coming.kept_at = is_named_by_hash, kept_at
            self._begin_next()
        elif coming.size_bytes != size_bytes:
            self._parent.answer(waiter, None, "its size is another one than was said")
        else:
            coming.waiting.append(waiter)

    def _begin_next(self) -> None:
        """Ask for what there is room for; the others wait until what is on its way has come."""
        for coming in list(self._coming.values()):
            if not coming.request:
                if not self._make_room(coming.size_bytes):
                    return
                self._ask(coming)

    def _ask(self, coming: _Coming) -> None:
        """Ask for the next piece under a new number, so that late answers to the last one mean nothing."""
        self._requests.pop(coming.request, None)
        self._serial += 1
        coming.request = self._serial
        self._requests[coming.request] = coming
        self._ask_ahead(coming, 1)

    def _ask_ahead(self, coming: _Coming, pieces: int) -> None:
        end = min(coming.got_bytes + pieces * PIECE_BYTES, coming.size_bytes)
        while coming.asked_bytes < end:
            start = coming.asked_bytes
            size_bytes = min(PIECE_BYTES, coming.size_bytes - start)
            coming.asked_bytes += size_bytes
            place = coming.size_bytes, start, size_bytes
            self._parent.ask(coming.job, coming.request, coming.name[1], *place, coming.kept_at)

    # Answers come.

    def refused(self, request: int, reason: str) -> None:
        """It cannot be had."""
        coming = self._requests.get(request)
        if coming is not None:
            self._fail(coming, reason)

    def piece_came(self, request: int, start: int, total_bytes: int, piece: Buffer) -> None:
        """A piece is here."""
        coming = self._requests.get(request)
        if coming is None or coming.filling is None:
            return
        due_bytes = min(PIECE_BYTES, coming.size_bytes - coming.got_bytes)
        if (total_bytes, start, len(piece)) != (coming.size_bytes, coming.got_bytes, due_bytes):
            self._fail(coming, "what was sent for it is not what was asked for")
            return
        try:
            coming.filling.write(piece)
        except (OSError, MemoryError) as error:
            self._fail(coming, f"this machine has no memory for it ({error})")
            return
        if coming.is_named_by_hash:
            if coming.digest is None:
                coming.digest = _new_digest()
            coming.digest.update(piece)
        coming.got_bytes += len(piece)
        if coming.got_bytes < coming.size_bytes:
            self._ask_ahead(coming, PIECES_AHEAD)
        else:
            self._checked(coming, coming.filling.seal())

    def whole_came(self, request: int, payload: Buffer | Sealed) -> None:
        """All of it is here at once."""
        coming = self._requests.get(request)
        if coming is None or coming.filling is None:
            return
        if len(payload) != coming.size_bytes or coming.got_bytes:
            self._fail(coming, "what was sent for it is not what was asked for")
        elif self._budget_bytes is None or not coming.is_named_by_hash:
            self._arrived(coming, payload)
        else:
            coming.filling = None  # no piece is taken from now on
            coming.digest = _new_digest()
            view = payload.view(writable=False) if isinstance(payload, Sealed) else memoryview(payload)
            self._hash_on(coming, payload, view, 0)

    def _hash_on(self, coming: _Coming, payload: Buffer | Sealed, view: memoryview, start: int) -> None:
        if self._coming.get(coming.name) is not coming:
            return  # nobody waits any more
        coming.digest.update(view[start : start + HASH_BYTES])
        if start + HASH_BYTES < len(view):
            self._loop.callLater(0.0, self._hash_on, coming, payload, view, start + HASH_BYTES)
        else:
            self._checked(coming, payload)

    def _checked(self, coming: _Coming, payload: Buffer | Sealed | Payload) -> None:
        if not coming.is_named_by_hash or coming.digest.hexdigest() == coming.name[1]:
            self._arrived(coming, payload)
        else:
            self._fail(coming, "what was sent for it has another SHA-256")

    def _arrived(self, coming: _Coming, payload: Buffer | Sealed) -> None:
        self._forget(coming)
        kept = self._kept[coming.name] = _Kept(payload, coming.session, set())
        for waiter in coming.waiting:
            self._give(coming.name, kept, waiter, coming.size_bytes)
        self._begin_next()

    def _give(self, name: Name, kept: _Kept, waiter: BlobWaiter, size_bytes: int) -> None:
        if len(kept.payload) != size_bytes:
            self._parent.answer(waiter, None, "its size is another one than was said")
            return
        kept.slots.add(waiter[0])
        self._parent.answer(waiter, kept.payload, "")

    def _fail(self, coming: _Coming, reason: str) -> None:
        self._forget(coming)
        for waiter in coming.waiting:
            self._parent.answer(waiter, None, reason)
        self._begin_next()

    def _forget(self, coming: _Coming) -> None:
        self._requests.pop(coming.request, None)
        if self._coming.get(coming.name) is coming:
            del self._coming[coming.name]

    # Room.

    def reserve(self, size_bytes: int) -> None:
        """So much of the budget is taken by something else."""
        self._reserved_bytes = size_bytes
        self._make_room(0)

    def _make_room(self, size_bytes: int) -> bool:
        """Drop what was asked for least recently; False when that does not help now."""
        if self._budget_bytes is None:
            return True
        budget_bytes = max(self._budget_bytes - self._reserved_bytes, 0)
        coming_bytes = sum(coming.size_bytes for coming in self._coming.values() if coming.request)
        if coming_bytes and coming_bytes + size_bytes > budget_bytes:
            return False
        kept_bytes = sum(len(kept.payload) for kept in self._kept.values())
        while kept_bytes and kept_bytes + coming_bytes + size_bytes > budget_bytes:
            name = next(iter(self._kept))
            kept_bytes -= len(self._kept[name].payload)
            self._drop(name)
        return True

    def _drop(self, name: Name) -> None:
        kept = self._kept.pop(name)
        for slot in kept.slots:
            self._parent.drop_at(slot, kept.session, name[1])
