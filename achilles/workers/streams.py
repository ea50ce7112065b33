"""Standard output and error as the user's functions find them in a worker.

Both are pipes that the parent reads. What Python code prints is preceded by marks that say whose it
is; what C code or a child process writes to descriptors 1 and 2 has none, and the parent guesses.

A mark is 32 bytes: 8 that only this worker and its parent know, then as little-endian int64 the job,
the item and how many bytes were dropped before it.

Rules:

- A line is written when it is complete; nothing is written later than its unit's results.
- More than `WORKER_BYTES_PER_S` is dropped and counted here, so that printing too much costs little.
- Nobody can close these streams; they have descriptors of their own beside 1 and 2.
"""

from __future__ import annotations

import io
import os
import select
import struct
from _thread import RLock
from collections.abc import Callable
from time import monotonic
from typing import Any

__all__ = ["MARK", "TOKEN_BYTES", "WORKER_BYTES_PER_S", "Budget", "MarkedStream", "text_stream"]

MARK = struct.Struct("<8sqqq")
TOKEN_BYTES = 8
#: What one worker may write to each stream in a second; as much at once after a second of silence.
WORKER_BYTES_PER_S = 256 * 1024
#: How long nothing passes when that is used up.
PAUSE_S = 0.5
#: A line that does not end is written in parts of about this size.
PENDING_BYTES = 8 * 1024
#: How long a pipe that a child process made non-blocking may stay full.
FULL_PIPE_S = 1.0


class Budget:
    """So many bytes per second, and one second's worth of them at once.

    Once it is used up nothing passes for `PAUSE_S`: better one long gap than a letter of each line.
    """

    __slots__ = ("_at_s", "_left_bytes", "_per_s_bytes", "paused_until_s")

    def __init__(self, per_s_bytes: int) -> None:
        self._per_s_bytes = per_s_bytes
        self._left_bytes = float(per_s_bytes)
        self._at_s = 0.0
        self.paused_until_s = 0.0

    def take(self, wanted_bytes: int, now_s: float) -> int:
        """How many of the wanted bytes may pass; these are used up."""
        if now_s < self.paused_until_s:
            return 0
        left_bytes = min(self._left_bytes + (now_s - self._at_s) * self._per_s_bytes, self._per_s_bytes)
        self._at_s = now_s
        if wanted_bytes <= left_bytes:
            self._left_bytes = left_bytes - wanted_bytes
            return wanted_bytes
        self._left_bytes = 0.0
        self.paused_until_s = now_s + PAUSE_S
        return int(left_bytes)


class MarkedStream(io.RawIOBase):
    """The bytes below ``sys.stdout`` or ``sys.stderr`` of a worker.

    Args:
        fd: The pipe's writing end, under a number that user code leaves alone.
        number: What ``fileno`` says: 1 or 2.
        token: The 8 bytes that begin a mark.
        whose: Tells the running job and item.
        budget: How much may pass.

    Attributes:
        waiting: Whether something is not written yet.
    """

    def __init__(
        self, fd: int, number: int, token: bytes, whose: Callable[[], tuple[int, int]], budget: Budget
    ) -> None:
        super().__init__()
        self.name = "<stdout>" if number == 1 else "<stderr>"
        self.waiting = False
        self._fd = fd
        self._number = number
        self._token = token
        self._whose = whose
        self._budget = budget
        self._marked: tuple[int, int] | None = None
        self._pending = bytearray()
        self._dropped_bytes = 0
        # Reentrant: a signal handler or a finalizer may print in the middle of a print.
        self._lock = RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        """Take bytes; all of them, always."""
        size_bytes = len(data) if type(data) is bytes else memoryview(data).nbytes
        now_s = monotonic()
        if now_s < self._budget.paused_until_s:
            # A race with another thread may lose some of the count; a print may not wait.
            self._dropped_bytes += size_bytes
            self.waiting = True
            return size_bytes
        with self._lock:
            allowed_bytes = self._budget.take(size_bytes, now_s)
            if allowed_bytes:
                whose = self._whose()
                if whose != self._marked or self._dropped_bytes:
                    self._mark(whose)
                part = data
                if allowed_bytes < size_bytes:
                    part = bytes(memoryview(data).cast("B")[:allowed_bytes])
                self._pending += part
                self.waiting = True
                if len(self._pending) >= PENDING_BYTES or 10 in part:
                    self._send()
            if allowed_bytes < size_bytes:
                self._dropped_bytes += size_bytes - allowed_bytes
                self.waiting = True
            return size_bytes

    def flush(self) -> None:
        """Write what waits, and how much was dropped."""
        with self._lock:
            if self._dropped_bytes:
                self._mark(self._whose())
            self._send()

    def close(self) -> None:
        """Only flush: the next item prints as well."""
        self.flush()

    def after_fork(self) -> None:
        """In a child: what waits is the parent's."""
        self._lock = RLock()
        self._pending = bytearray()
        self._dropped_bytes = 0

    def _mark(self, whose: tuple[int, int]) -> None:
        self._pending += MARK.pack(self._token, *whose, self._dropped_bytes)
        self._marked = whose
        self._dropped_bytes = 0

    def _send(self) -> None:
        pending, self._pending = self._pending, bytearray()
        self.waiting = self._dropped_bytes > 0
        view = memoryview(pending)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(self._fd, select.POLLOUT)
                if not poller.poll(FULL_PIPE_S * 1000):
                    return
            except OSError:
                return  # nobody reads any more


def text_stream(stream: MarkedStream) -> io.TextIOWrapper:
    """What becomes ``sys.stdout`` or ``sys.stderr``."""
    return io.TextIOWrapper(
        stream,
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )
