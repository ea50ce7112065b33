"""Frames are written at the end of the turn that made them, not in the reactor's next.

Twisted's sockets write when the reactor finds that they can take bytes: for each frame of a short
conversation a trip through epoll, which costs more than all else that is done for it. Here what one read
leads to is written when all that was read has been dealt with, so that frames for one peer still go
together; and what is sent outside of that, a worker's results, say, is written at once. What a socket does
not take stays with Twisted.

One reactor runs in a process, and all of this in its thread.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from twisted.internet.abstract import FileDescriptor

__all__ = ["Turn", "write_now"]


class Turn:
    """As a context: what is sent within it is written where the outermost one ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._written_to: dict[int, Any] = {}

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            while self._written_to:
                _flush(self._written_to.popitem()[1])

    def wrote(self, transport: Any) -> None:
        """Something was handed to a transport."""
        if self._depth:
            self._written_to[id(transport)] = transport
        else:
            _flush(transport)


def _flush(transport: Any) -> None:
    flush = getattr(transport, "flush", None)  # of TLS, which has to encrypt first
    if flush is not None:
        flush()
    else:
        write_now(transport)


def write_now(transport: Any) -> None:
    """Have one of Twisted's sockets write what waits in it, as far as it can."""
    if not isinstance(transport, FileDescriptor) or not transport.connected:
        return  # of a test, or gone by now
    # What it says then is for the reactor to hear. An error it meets again, when it tries itself.
    if not (transport.disconnecting or transport._writeDisconnecting):
        transport.doWrite()  # type: ignore[no-untyped-call] # as all of Twisted
