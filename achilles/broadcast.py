"""One large object for many tasks: sent once to each machine, and shared by its workers."""

from __future__ import annotations

import os
from typing import Any, Generic, TypeVar

from achilles import blobs
from achilles.apart import never_changes
from achilles.by_value import Pickler, reduce_with
from achilles.serialization import serialize

__all__ = ["Broadcast"]

T = TypeVar("T")

# More than any machine has; a node refuses what is too large for it.
MOST_BYTES = 1 << 46


class Broadcast(Generic[T]):
    """Stands for an object in arguments, closures, globals and results of tasks, and travels as its name.

    ::

        table = Broadcast(load_table())                       # serialized once, here and now
        map(lambda row: lookup(table.value, row), rows)

    The first task on a machine that asks for `value` has it fetched, once for all workers there; each worker
    loads it once. The memory of arrays is shared between the workers of a machine.

    What it stands for is the object as it was when this was made: later changes are not seen by tasks.
    Keep the handle until the results are there; a job keeps what its function and its arguments hold.
    A handle that was made within a task is good for the calls that this task makes, and not as its result.

    Args:
        obj: NumPy arrays, or anything that can be sent.
        copy_on_write: Let tasks write to arrays: pages are copied for a worker when it writes to them, and
            what it wrote is seen by later tasks of the same worker alone, through this handle. Without,
            arrays of 4 KiB and more are read-only in tasks.

    Raises:
        SerializationError: The object cannot be sent.
    """

    __slots__ = (
        "__weakref__",
        "_blob",
        "_copy_on_write",
        "_identity",
        "_obj",
        "_released",
        "_sha256",
        "_size_bytes",
    )

    def __init__(self, obj: T, *, copy_on_write: bool = False) -> None:
        blob = blobs.keep(serialize(obj, "the broadcast object", MOST_BYTES).segments, obj)
        self._set(os.urandom(8), blob.sha256, blob.size_bytes, copy_on_write, blob, obj)

    def _set(
        self,
        identity: bytes,
        sha256: str,
        size_bytes: int,
        copy_on_write: bool,
        blob: blobs.Blob | None,
        obj: Any,
    ) -> None:
        self._identity = identity
        self._sha256 = sha256
        self._size_bytes = size_bytes
        self._copy_on_write = copy_on_write
        self._blob = blob
        self._obj = obj
        self._released = False
        if blob is not None:
            blob.handles.add(self)

    @property
    def value(self) -> T:
        """The object: itself in the process that made this, within a task as it was loaded there.

        Raises:
            BroadcastLost: It was released, or who made it is gone.
        """
        if self._blob is not None:
            return self._obj  # type: ignore[no-any-return]
        self._check()
        found = blobs.fetch(self._sha256, self._size_bytes)
        return found.value(self._identity, copy_on_write=self._copy_on_write)  # type: ignore[no-any-return]

    @property
    def sha256(self) -> str:
        """Of the serialized object, in hexadecimal: its name."""
        return self._sha256

    @property
    def size_bytes(self) -> int:
        """The length of the serialized object."""
        return self._size_bytes

    def release(self) -> None:
        """Let go of the object; harmless when repeated.

        With the last handle that refers to it the memory is given back, and tasks that ask for it fail.
        Happens by itself when nothing refers to the handle, nor to a job that it was sent with.
        """
        blob, self._blob = self._blob, None
        self._obj = None
        self._released = True
        if blob is not None:
            blob.handles.discard(self)
            if not blob.handles:
                blob.drop()

    def __enter__(self) -> Broadcast[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        said = "released" if self._released else f"{self._size_bytes:,} bytes"
        return f"<Broadcast {self._sha256[:12]} {said}>"

    def __reduce__(self) -> tuple[Any, ...]:
        self._check()
        return _refer, (self._identity, bytes.fromhex(self._sha256), self._size_bytes, self._copy_on_write)

    def _check(self) -> None:
        if self._released:
            raise blobs.lost(self._sha256, self._size_bytes, "this handle was released")


def _refer(identity: bytes, sha256: bytes, size_bytes: int, copy_on_write: bool) -> Broadcast[Any]:
    """A handle to what somebody broadcasts; at home again it stands for the object itself."""
    name = sha256.hex()
    blob = blobs.own(name)
    if blob is not None and blob.payload is None:
        blob = None
    handle: Broadcast[Any] = Broadcast.__new__(Broadcast)
    handle._set(identity, name, size_bytes, copy_on_write, blob, None if blob is None else blob.origin)
    return handle


def _reduce(pickler: Pickler, handle: Broadcast[Any]) -> Any:
    """Within the payload of a job: who keeps that keeps the blob."""
    if handle._blob is not None:
        pickler.carried.append(handle._blob)
    return handle.__reduce__()


reduce_with(Broadcast, _reduce)
never_changes(Broadcast)
