"""Results that stay where they were made: the caller holds a handle, and further calls find the value there.

A worker serializes what it made into memory that its machine's workers share, and its parent keeps that: the
node, or the embedded engine. What travels is a `Reference`. Given to another call the handle is loaded as the
value itself, mapped from that memory; a node that has not got it fetches it once.

Here are the two ends: what a worker does with a result (`stay`) and with a handle (`_refer`), and what the
caller holds (`Kept`). How bytes get to the caller is the engine's business (`Keeper`).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, NamedTuple, Protocol

from achilles import blobs
from achilles.by_value import Pickler, reduce_with
from achilles.errors import KeptLost
from achilles.sealed import HELD_DESCRIPTORS, Buffer, Sealed, mapped, open_descriptors
from achilles.serialization import Serialized, deserialize, join, serialize

__all__ = ["KEEP_BYTES", "Keeper", "Kept", "Reference", "kept_in", "lost", "stay"]

KEEP_BYTES = 64 * 1024
"""A result whose serialized form is smaller than this is simply sent."""

RELEASED = "this handle was released"
_SUBJECT = "result of the call"
# Of these nothing is ever large enough, and most results are such.
_SMALL = frozenset({type(None), bool, float, complex})


class Reference(NamedTuple):
    """Says which value it is, and where it is kept.

    Attributes:
        name: 64 hexadecimal digits. Random, so that nobody finds one that was not told.
        size_bytes: The length of the serialized value.
        holder: The number of its node at the server; None: the workers of this machine's engine.
        node: The name of that node, for people.
    """

    name: str
    size_bytes: int
    holder: int | None
    node: str


class Keeper(Protocol):
    """Who gets at the values that were made for this process, at one place. From any thread.

    Attributes:
        origin: Which server; None: this machine.
    """

    origin: object

    def payload(self, reference: Reference) -> Buffer | Sealed:
        """The serialized value. Blocks.

        Raises:
            KeptLost: It is gone.
        """

    def release(self, reference: Reference) -> None:
        """Nobody needs it. Called by the garbage collector as well, at any moment; never blocks."""


# The handles of this process, so that one that comes back is itself.
_handles: weakref.WeakValueDictionary[str, Kept] = weakref.WeakValueDictionary()


class Kept:
    """Stands for a result that stayed where it was made: in the memory of a node, or of this machine.

    `Pool.keep_async` gives them. A function that gets one in its arguments, however deep, gets the value::

        table = pool.keep_async(load, (path,)).get()                  # a Kept, if it is large
        means = [pool.keep_async(mean, (table, column)) for column in columns]

    The function may write to what it gets, and nobody else sees that: pages are copied when they are
    written to. The value is let go of with the last reference to the handle, with `release`, or when the
    pool ends that made it.
    """

    __slots__ = ("__weakref__", "_fetched", "_finalizer", "_keeper", "_reference")

    def __init__(self, reference: Reference, keeper: Keeper) -> None:
        self._reference = reference
        self._keeper = keeper
        self._fetched: Buffer | Sealed | None = None
        self._finalizer = weakref.finalize(self, _let_go, keeper, reference, os.getpid())
        self._finalizer.atexit = False
        _handles[reference.name] = self

    @property
    def node(self) -> str:
        """Which node keeps it: its host, ``#`` and its number at the server. ``""`` on this machine."""
        return self._reference.node

    @property
    def holder(self) -> int | None:
        """The number of that node; None on this machine."""
        return self._reference.holder

    @property
    def reference(self) -> Reference:
        """Which value it is."""
        return self._reference

    @property
    def origin(self) -> object:
        """The server of that node, as engines name it; None on this machine."""
        return self._keeper.origin

    @property
    def size_bytes(self) -> int:
        """The length of the serialized value."""
        return self._reference.size_bytes

    def value(self) -> Any:
        """The value, as a copy of the caller's own: arrays may be written to. Blocks until it is here.

        It is fetched from another machine once, and loaded anew each time.

        Raises:
            KeptLost: It was released, or its node or its pool is gone.
        """
        content = mapped(self.payload())
        return deserialize(content if isinstance(content, memoryview) else bytearray(content), _SUBJECT)

    def payload(self) -> Buffer | Sealed:
        """The serialized value, not to be written to. Blocks.

        Raises:
            KeptLost: As of `value`.
        """
        self._check()
        if self._fetched is not None:
            return self._fetched
        payload = self._keeper.payload(self._reference)
        if self._reference.holder is not None:
            if isinstance(payload, Sealed) and open_descriptors() > HELD_DESCRIPTORS:
                payload = payload.read()
            self._fetched = payload
        return payload

    @property
    def is_here(self) -> bool:
        """Whether `payload` has it without waiting."""
        return self._fetched is not None or self._reference.holder is None

    def release(self) -> None:
        """Let go of the value; harmless when repeated. Calls that were given it and have not run fail."""
        self._fetched = None
        self._finalizer()

    def __repr__(self) -> str:
        said = f"{self.size_bytes:,} bytes" if self._finalizer.alive else "released"
        return f"<Kept {said} at {self.node or 'this machine'}>"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        self._check()
        return _refer, tuple(self._reference)

    def _check(self) -> None:
        if not self._finalizer.alive:
            raise lost(self._reference, RELEASED)


def _let_go(keeper: Keeper, reference: Reference, pid: int) -> None:
    if os.getpid() == pid:  # else it is the parent's of this forked process
        keeper.release(reference)
        blobs.tell_gone(reference.name)  # engines that have it from this process


def lost(reference: Reference, reason: str) -> KeptLost:
    """The error for a kept value that cannot be had."""
    where = f" at {reference.node}" if reference.node else ""
    return KeptLost(
        f"a value of {reference.size_bytes:,} bytes that was kept{where} cannot be had: {reason}. Make it "
        f"again; and hold its handle, and its pool, until all calls that use it are done.",
        node=reference.node,
        size_bytes=reference.size_bytes,
        reason=reason,
        index=None,
    )


def _refer(name: str, size_bytes: int, holder: int | None, node: str) -> Any:
    """What a handle is loaded as: itself in the process that holds it, and in a worker the value."""
    handle = _handles.get(name)
    if handle is not None:
        return handle
    reference = Reference(name, size_bytes, holder, node)
    source = blobs.source()
    if source is None:
        raise lost(reference, "it is loaded in a process that is no worker, and does not hold it")
    found = source.fetch_kept(name, size_bytes, holder)
    if isinstance(found, str):
        raise lost(reference, found)
    # A mapping of its own each time: what a function writes to is seen by no other.
    return deserialize(found.copy(), "a kept value")


def _reduce(pickler: Pickler, handle: Kept) -> Any:
    """Within what is sent: who keeps that keeps the handle."""
    pickler.carried.append(handle)
    return handle.__reduce__()


def kept_in(serialized: Serialized) -> list[Kept]:
    """The handles that were met while something was serialized."""
    return [each for each in serialized.carried if isinstance(each, Kept)]


class _Small:
    """A result that was serialized already, and turned out to be small."""

    __slots__ = ("_payload",)

    def __init__(self, serialized: Serialized) -> None:
        self._payload = join(serialized)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _load_small, (PickleBuffer(self._payload),)


def _load_small(payload: Any) -> Any:
    return deserialize(payload, _SUBJECT)


def stay(value: Any) -> Any:
    """What a worker sends back for a result that is to stay.

    Returns:
        A `Reference` when the value is large and its parent keeps it, else something that is loaded as it.

    Raises:
        SerializationError: It cannot be sent.
    """
    if type(value) in _SMALL:
        return value
    serialized = serialize(value, _SUBJECT)
    if serialized.size_bytes < KEEP_BYTES:
        return _Small(serialized)
    source = blobs.source()
    kept = None if source is None else source.keep(serialized.segments)
    return value if kept is None else Reference(kept[0], serialized.size_bytes, *kept[1:])


def _find(name: str) -> blobs.Blob | Callable[[], blobs.Blob | None] | None:
    """For a worker that asks this process for what another of its pools keeps."""
    handle = _handles.get(name)
    if handle is None:
        return None

    def get() -> blobs.Blob | None:
        try:
            return blobs.Blob(name, handle.payload())
        except KeptLost:
            return None

    # Answers to questions for one piece after the other must come in order.
    return get() if handle.is_here else get


reduce_with(Kept, _reduce)
blobs.when_missing(_find)
