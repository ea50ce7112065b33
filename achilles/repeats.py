"""Large buffers that come again, unchanged, in later units of a job or with functions: sent as blobs instead.

A buffer is known by the object that exports it (a NumPy array, say), as long as that lives. It is sent as it
is the first time. The second time it becomes a blob; from then on it is compared with that, byte by byte,
which is faster than a hash. If it differs, somebody writes to it between two items, and it is sent as it is
from then on. So what arrives is always what was there when its unit was serialized.

A job keeps its blobs as long as it is there. Those of functions serve all jobs of a program, and are kept as
long as what they were made of. There is a bound for all of them together.
"""

from __future__ import annotations

import os
import weakref
from _thread import allocate_lock
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from achilles.blobs import Blob

__all__ = ["FUNCTION_REPEAT_BYTES", "REPEAT_BYTES", "LastingRepeats", "Repeats", "of_functions"]

REPEAT_BYTES = 1024 * 1024
"""Smaller buffers are sent as they are."""

FUNCTION_REPEAT_BYTES = 128 * 1024
"""The same within functions, which are sent to each node and each worker."""

COMPARED_BYTES = 128 * 1024
# Of what is no larger a copy is kept as well, which can be compared with in one go; of so much in all.
COPIED_BYTES = 4 * 1024 * 1024
MOST_COPIED_BYTES = 16 * 1024 * 1024

# With so many entries those of objects that are no more are looked for.
FORGET_AT = 64


class _Seen:
    __slots__ = ("blob", "changes", "copied_bytes", "copy", "exporter", "kept_bytes")

    def __init__(self, exporter: weakref.ref[Any]) -> None:
        self.exporter = exporter
        self.blob: Blob | None = None
        self.copy: bytearray | None = None
        self.kept_bytes = self.copied_bytes = 0
        self.changes = False

    def drop(self) -> None:
        """Keep nothing of it."""
        self.blob = self.copy = None

    def is_same(self, buffer: memoryview) -> bool:
        """Whether it holds what it held when it became a blob."""
        if self.copy is not None:
            return bool(self.copy == buffer)
        return self.blob is not None and _same(buffer, self.blob.view())


def _same(buffer: memoryview, known: memoryview) -> bool:
    # A bytearray is compared in one go, and a view item by item; so little stays in the processor's cache.
    return all(
        bytearray(buffer[start : start + COMPARED_BYTES]) == known[start : start + COMPARED_BYTES]
        for start in range(0, len(buffer), COMPARED_BYTES)
    )


class Repeats:
    """The large buffers of one job. Used by one thread at a time.

    Args:
        most_bytes: For all blobs together; without, a sixteenth of the memory.
        least_bytes: Smaller buffers are not looked at.
    """

    def __init__(self, most_bytes: int | None = None, least_bytes: int = REPEAT_BYTES) -> None:
        self.least_bytes = least_bytes
        self._most_bytes = most_bytes
        self._kept_bytes = self._copied_bytes = 0
        self._forget_at = FORGET_AT
        self._seen: dict[tuple[int, int], _Seen] = {}

    def blob_of(self, buffer: memoryview) -> Blob | None:
        """The blob that this buffer is now; None when it is to be sent as it is."""
        exporter = buffer.obj
        key = id(exporter), buffer.nbytes
        seen = self._seen.get(key)
        if seen is None or seen.exporter() is not exporter:
            self._note(key, exporter)
            return None
        if seen.changes:
            return None
        if seen.blob is None:
            if not self._takes(buffer.nbytes):
                return None
            from achilles.blobs import keep  # here and below: what most jobs can do without

            if buffer.nbytes <= min(COPIED_BYTES, MOST_COPIED_BYTES - self._copied_bytes):
                # First, and the blob of that: another thread may write to the buffer meanwhile.
                seen.copy = bytearray(buffer)
                buffer = memoryview(seen.copy)
                seen.copied_bytes = buffer.nbytes
                self._copied_bytes += buffer.nbytes
            seen.blob = keep([buffer], None)
            seen.kept_bytes = buffer.nbytes
            return seen.blob
        if seen.is_same(buffer):
            return seen.blob
        seen.changes = True
        seen.drop()
        self._copied_bytes -= seen.copied_bytes
        seen.copied_bytes = 0
        return None

    def _note(self, key: tuple[int, int], exporter: Any) -> None:
        if len(self._seen) >= self._forget_at:
            # Here and not as they die: who is told of that would be in a cycle with this.
            self._seen = {key: seen for key, seen in self._seen.items() if seen.exporter() is not None}
            self._forget_at = max(2 * len(self._seen), FORGET_AT)
        try:
            self._seen[key] = _Seen(weakref.ref(exporter))
        except TypeError:
            pass  # nobody could say whether it is another one at the same place

    def _takes(self, size_bytes: int) -> bool:
        """Whether there is room for one more blob; it stays for as long as this."""
        if self._most_bytes is None:
            from achilles.memory_budget import default_budget_bytes

            self._most_bytes = default_budget_bytes()
        if size_bytes > self._most_bytes - self._kept_bytes:
            return False
        self._kept_bytes += size_bytes
        return True


class LastingRepeats(Repeats):
    """The large buffers of the functions of all jobs of a program. Used by any thread."""

    def __init__(self, most_bytes: int | None = None, least_bytes: int = FUNCTION_REPEAT_BYTES) -> None:
        super().__init__(most_bytes, least_bytes)
        self._lock = allocate_lock()
        self._gone: deque[tuple[int, int]] = deque()

    def blob_of(self, buffer: memoryview) -> Blob | None:
        """The blob that this buffer is now; None when it is to be sent as it is."""
        with self._lock:
            while self._gone:
                self._forget(self._gone.popleft())
            return super().blob_of(buffer)

    def _note(self, key: tuple[int, int], exporter: Any) -> None:
        self._forget(key)

        def died(exporter: weakref.ref[Any]) -> None:
            # At any moment, and perhaps in a thread that is here: nothing is done that takes the lock.
            seen = self._seen.get(key)
            if seen is not None and seen.exporter is exporter:
                seen.drop()
                self._gone.append(key)

        try:
            self._seen[key] = _Seen(weakref.ref(exporter, died))
        except TypeError:
            pass  # as above

    def _forget(self, key: tuple[int, int]) -> None:
        seen = self._seen.get(key)
        if seen is not None and seen.exporter() is None:
            del self._seen[key]
            self._kept_bytes -= seen.kept_bytes
            self._copied_bytes -= seen.copied_bytes


of_functions = LastingRepeats()
"""What the functions of this program's jobs were sent with."""


def _after_fork() -> None:
    of_functions._lock = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
