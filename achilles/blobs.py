"""The blobs that this process holds: serialized bytes named by their SHA-256.

A blob is here because this process made it (`keep`), or, in a worker, because a task asked its parent for
it. Who made it keeps it as long as anything refers to it, and answers for it; engines that are asked for
one by a worker, however far away, look here (`hand_out`) and nowhere else.

Knows nothing of engines, connections or workers: those put themselves in (`set_source`, `when_gone`).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from achilles.errors import BroadcastLost
from achilles.sealed import SHARE_BYTES, Buffer, Sealed, mapped, seal
from achilles.serialization import deserialize

__all__ = [
    "GONE",
    "Blob",
    "Source",
    "fetch",
    "find",
    "hand_out",
    "keep",
    "lost",
    "own",
    "set_source",
    "source",
    "tell_gone",
    "when_gone",
    "when_missing",
]

GONE = "it was released, or dropped with the last handle, in the program that made it"

# Equal objects of different handles that are kept loaded at a time.
MOST_VALUES = 8


class Blob:
    """Bytes that never change, and the object that they are, once it was asked for.

    Args:
        sha256: Of the bytes, in hexadecimal.
        payload: The bytes; shared memory if there are many.
        origin: The object that was serialized, in the process that did it.

    Attributes:
        handles: Who in this process keeps it, and has not let go.
    """

    __slots__ = ("__weakref__", "_payload", "_values", "_view", "handles", "origin", "sha256", "size_bytes")

    def __init__(self, sha256: str, payload: Buffer | Sealed, origin: Any = None) -> None:
        self.sha256 = sha256
        self.size_bytes = len(payload)
        self.origin = origin
        self.handles: weakref.WeakSet[Any] = weakref.WeakSet()
        self._payload: Buffer | Sealed | None = payload
        self._view: memoryview | None = None
        self._values: dict[bytes, Any] = {}

    @property
    def payload(self) -> Buffer | Sealed | None:
        """The bytes; None once it was dropped."""
        return self._payload

    def view(self) -> memoryview:
        """The bytes, to be read only."""
        if self._view is None:
            payload = self._payload
            if payload is None:
                raise lost(self.sha256, self.size_bytes, "it was released")
            if isinstance(payload, Sealed):
                self._view = payload.view(writable=False)
            else:
                self._view = memoryview(payload).toreadonly()
        return self._view

    def copy(self) -> Buffer:
        """The bytes in memory of the caller's own; pages are copied when they are written to."""
        payload = self._payload
        if payload is None:
            raise lost(self.sha256, self.size_bytes, "it was released")
        return mapped(payload) if isinstance(payload, Sealed) else bytearray(payload)

    def value(self, handle: bytes, *, copy_on_write: bool) -> Any:
        """The object, loaded the first time; its large buffers lie in the blob's memory.

        Args:
            handle: Stands for who made the blob. What tasks change of an object is not to be seen in
                another one that was equal when it was sent.
            copy_on_write: Whether the buffers can be written to, here and for this handle alone.
        """
        try:
            return self._values[handle]
        except KeyError:
            pass
        with _loading:
            if handle not in self._values:
                content = self.copy() if copy_on_write else self.view()
                self._values[handle] = deserialize(content, "a broadcast object")
                while len(self._values) > MOST_VALUES:
                    del self._values[next(iter(self._values))]
            return self._values[handle]

    def drop(self) -> None:
        """Let go of the bytes; who asks for them is told that they are gone."""
        if self._payload is None:
            return
        self._payload = self._view = self.origin = None
        self._values = {}
        if _own.get(self.sha256) is self:
            del _own[self.sha256]
            tell_gone(self.sha256)


#: Given a name: the blob; or what gets it, and may take long; or None.
Finder = Callable[[str], "Blob | Callable[[], Blob | None] | None"]


class Source(Protocol):
    """Where a worker has blobs from that others made. Called from any thread of the user's code."""

    def find(self, sha256: str) -> Blob | None:
        """One that it has."""

    def fetch(self, sha256: str, size_bytes: int) -> Blob:
        """One that it may have to wait for.

        Raises:
            BroadcastLost: It cannot be had.
        """

    def keep(self, segments: Sequence[Buffer]) -> tuple[str, int | None, str] | None:
        """Have the parent keep a value for its session, in the name of the job that runs.

        Returns:
            Its name, and the number and name of the node; None if there is no room.
        """

    def fetch_kept(self, name: str, size_bytes: int, holder: int | None) -> Blob | str:
        """A kept value that it may have to wait for, or why it cannot be had."""


_own: weakref.WeakValueDictionary[str, Blob] = weakref.WeakValueDictionary()
_source: Source | None = None
_listeners: list[Callable[[str], None]] = []
_finders: list[Finder] = []
# Reentrant: loading runs the user's code, and the garbage collector anybody's.
_loading = threading.RLock()


def set_source(source: Source) -> None:
    """This process is a worker, and asks there."""
    global _source
    _source = source


def source() -> Source | None:
    """Where this process asks, if it is a worker."""
    return _source


def when_missing(finder: Finder) -> None:
    """Ask there as well for what others want."""
    _finders.append(finder)


def when_gone(listener: Callable[[str], None]) -> None:
    """Call with the SHA-256 of each blob of this process that is gone; at any moment, in any thread."""
    _listeners.append(listener)


def tell_gone(sha256: str) -> None:
    """Have all who listen know that a blob of this process is gone."""
    for listener in _listeners:
        listener(sha256)


def keep(segments: Sequence[Buffer], origin: Any) -> Blob:
    """Make a blob of these bytes, or find the same one; it stays while the caller refers to it."""
    import hashlib

    size_bytes = sum([memoryview(segment).nbytes for segment in segments])
    shared = seal([segments]) if size_bytes >= SHARE_BYTES else None
    made = Blob("", b"".join(segments) if shared is None else shared, origin)
    # Of what was written, since somebody may change an array meanwhile.
    made.sha256 = hashlib.sha256(made.view()).hexdigest()
    known = _own.get(made.sha256)
    if known is not None:
        return known
    _own[made.sha256] = made
    weakref.finalize(made, tell_gone, made.sha256).atexit = False
    return made


def own(sha256: str) -> Blob | None:
    """A blob that this process made."""
    return _own.get(sha256)


def find(sha256: str) -> Blob | None:
    """A blob that this process made, or has in the name of the task that runs."""
    found = _own.get(sha256)
    return found if found is not None or _source is None else _source.find(sha256)


def fetch(sha256: str, size_bytes: int) -> Blob:
    """A blob that this process has, or gets from its parent.

    Raises:
        BroadcastLost: It cannot be had.
    """
    found = find(sha256)
    if found is not None:
        return found
    if _source is None:
        raise lost(
            sha256,
            size_bytes,
            "it was released, or was made by another process, which keeps it to itself and its tasks",
        )
    return _source.fetch(sha256, size_bytes)


def hand_out(sha256: str, size_bytes: int, then: Callable[[Blob | None], None]) -> None:
    """Find a blob for somebody who works for this process, and call with it, or with None.

    At once if it is here. If it has to come from elsewhere, as when this process works for another one
    itself, then later and in a thread of its own.
    """
    found = find(sha256)
    if found is not None and found.payload is not None:
        then(found)
        return
    get = next((get for finder in _finders if (get := finder(sha256)) is not None), None)
    if get is None and _source is not None:
        get = partial(_fetched, sha256, size_bytes)
    if get is None or isinstance(get, Blob):
        then(get)
    else:
        threading.Thread(target=_ask, args=(get, then), name="achilles-blob", daemon=True).start()


def _ask(get: Callable[[], Blob | None], then: Callable[[Blob | None], None]) -> None:
    then(get())


def _fetched(sha256: str, size_bytes: int) -> Blob | None:
    try:
        return fetch(sha256, size_bytes)
    except BroadcastLost:
        return None


def lost(sha256: str, size_bytes: int, reason: str) -> BroadcastLost:
    """The error for a blob that cannot be had."""
    return BroadcastLost(
        f"a broadcast object of {size_bytes:,} bytes cannot be had: {reason}. Keep the Broadcast in the "
        f"program that made it, and do not release it, until the tasks that use it are done.",
        sha256=sha256,
        size_bytes=size_bytes,
    )


def _after_fork() -> None:
    global _loading
    _loading = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
