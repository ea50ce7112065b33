"""The blobs that a worker has in the name of its jobs: from its parent, each kept once for a session.

They stay until the parent says that they need not, which the worker hears between two units.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable
from typing import Any

from achilles.blobs import Blob, lost
from achilles.workers.frames import Message

__all__ = ["SharedBlobs"]


class SharedBlobs:
    """A worker's `achilles.blobs.Source`.

    Args:
        ask: ``ask(job, sha256, size_bytes)`` blocks and returns a BLOB message, or None if nobody answers.
        whose: The session and the job of what runs.
    """

    def __init__(
        self, ask: Callable[[int, bytes, int], Message | None], whose: Callable[[], tuple[int, int]]
    ) -> None:
        self._ask = ask
        self._whose = whose
        self._blobs: dict[tuple[int, str], Blob] = {}
        self._asking = allocate_lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def find(self, sha256: str) -> Blob | None:
        """One that is here."""
        return self._blobs.get((self._whose()[0], sha256))

    def fetch(self, sha256: str, size_bytes: int) -> Blob:
        """Ask the parent, unless another thread has just done so.

        Raises:
            BroadcastLost: It cannot be had.
        """
        session, job = self._whose()
        with self._asking:
            found = self._blobs.get((session, sha256))
            if found is not None:
                return found
            message = self._ask(job, bytes.fromhex(sha256), size_bytes)
            if message is None:
                raise lost(
                    sha256,
                    size_bytes,
                    "this process was forked from a worker, and only the worker itself can ask for it (use "
                    "its value before the fork)",
                )
            payload: Any = message[6]  # stays shared if it came so
            if message[1]:
                raise lost(sha256, size_bytes, payload.decode())
            found = self._blobs[session, sha256] = Blob(sha256, payload)
            return found

    def drop(self, session: int, sha256: bytes | bytearray) -> None:
        """It need not be kept."""
        self._blobs.pop((session, sha256.hex()), None)

    def _after_fork(self) -> None:
        self._asking = allocate_lock()
