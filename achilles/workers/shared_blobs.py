"""The blobs that a worker has in the name of its jobs: from its parent, each kept once for a session.

They stay until the parent says that they need not, which the worker hears between two units. Of kept values
only those stay that were used last: there may be many, and each is a descriptor.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable, Sequence
from typing import Any

from achilles.blobs import Blob, lost
from achilles.sealed import Buffer
from achilles.workers.frames import Message

__all__ = ["SharedBlobs"]

# Kept values of which a worker has the descriptor at a time.
MOST_KEPT = 64
NAME_BYTES = 32
_FORKED = "this process was forked from a worker, and only the worker itself can ask for it"


class SharedBlobs:
    """A worker's `achilles.blobs.Source`.

    Args:
        ask: ``ask(job, sha256, size_bytes)`` blocks and returns a BLOB message, or None if nobody answers.
            For a kept value a fourth argument says where it is: 1, or 2 and the number of its node.
        whose: The session and the job of what runs.
        ask_to_keep: ``ask_to_keep(job, segments)`` blocks and returns a KEPT message, or None likewise.
    """

    def __init__(
        self,
        ask: Callable[..., Message | None],
        whose: Callable[[], tuple[int, int]],
        ask_to_keep: Callable[[int, Sequence[Buffer]], Message | None],
    ) -> None:
        self._ask = ask
        self._whose = whose
        self._ask_to_keep = ask_to_keep
        self._blobs: dict[tuple[int, str], Blob] = {}
        self._kept: dict[tuple[int, str], Blob] = {}  # the one used last at the end
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
                    f"{_FORKED} (use its value before the fork)",
                )
            payload: Any = message[6]  # stays shared if it came so
            if message[1]:
                raise lost(sha256, size_bytes, payload.decode())
            found = self._blobs[session, sha256] = Blob(sha256, payload)
            return found

    def keep(self, segments: Sequence[Buffer]) -> tuple[str, int | None, str] | None:
        """Have the parent keep a value; its name, and number and name of the node. None: there is no room."""
        message = self._ask_to_keep(self._whose()[1], segments)
        if message is None or message[1]:
            return None
        holder, payload = message[4], message[6]
        return payload[:NAME_BYTES].hex(), holder - 1 if holder else None, payload[NAME_BYTES:].decode()

    def fetch_kept(self, name: str, size_bytes: int, holder: int | None) -> Blob | str:
        """A kept value, or why it cannot be had."""
        session, job = self._whose()
        with self._asking:
            found = self._kept.pop((session, name), None)
            if found is None:
                message = self._ask(job, bytes.fromhex(name), size_bytes, 1 if holder is None else holder + 2)
                if message is None:
                    return _FORKED
                payload: Any = message[6]  # stays shared if it came so
                if message[1]:
                    return str(payload.decode())
                found = Blob(name, payload)
            self._kept[session, name] = found
            if len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            return found

    def drop(self, session: int, sha256: bytes | bytearray) -> None:
        """It need not be kept."""
        name = session, sha256.hex()
        self._blobs.pop(name, None)
        self._kept.pop(name, None)

    def _after_fork(self) -> None:
        self._asking = allocate_lock()
