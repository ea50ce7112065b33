"""Which results wait for the thread they are asked for in.

Callbacks run in the threads that read results. One that waits for a result which that same thread has
yet to read would wait for ever, and so would one that waits for its pool to end: the standard library's
do. Here they are told.
"""

from __future__ import annotations

import threading
from typing import Protocol

__all__ = ["Reader", "begin", "check_join", "check_wait", "reads_for"]


class Reader(Protocol):
    """Something that reads results in a thread of its own."""

    def settles(self, promise: object) -> bool:
        """Whether it will settle this one."""


class _Here(threading.local):
    reader: Reader | None = None


_here = _Here()


def begin(reader: Reader) -> None:
    """This thread reads for it from now on."""
    _here.reader = reader


def reads_for(reader: Reader) -> bool:
    """Whether this thread reads for it."""
    return _here.reader is reader


def check_wait(promise: object) -> None:
    """Raise RuntimeError if nobody but this thread will settle the promise."""
    reader = _here.reader
    if reader is not None and reader.settles(promise):
        raise RuntimeError(
            "a callback cannot wait for a call of its own pool, whose result this same thread has to read: "
            "give that call a callback too, or use map or imap"
        )


def check_join(readers: list[Reader]) -> None:
    """Raise RuntimeError if this thread belongs to one of them."""
    if _here.reader is not None and any(_here.reader is reader for reader in readers):
        raise RuntimeError("a callback cannot wait for the end of its own pool, which waits for the callback")
