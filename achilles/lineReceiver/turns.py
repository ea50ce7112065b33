"""Frames are written at the end of the turn that made them, not in the reactor's next.

Twisted's sockets write when the reactor finds that they can take bytes: for each frame of a short
conversation a trip through epoll, which costs more than all else that is done for it. Here what one read
leads to is written when all that was read has been dealt with, so that frames for one peer still go
together; and what is sent outside of that, a worker's results, say, is written at once. What a socket does
not take stays with Twisted, and only then the reactor is told that there is something to write.

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
        self._written_to: dict[int, Any] = {}  # plain sockets
        self._handed_to: dict[int, Any] = {}  # any

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth:
            while self._written_to:
                _flush_plain(self._written_to.popitem()[1])
            while self._handed_to:
                _flush(self._handed_to.popitem()[1])

    def write(self, transport: Any, frame: list[bytes]) -> None:
        """Write a frame to a plain socket, as its ``writeSequence`` would."""
        if transport.connected and not transport._writeDisconnected:
            transport._tempDataBuffer += frame
            transport._tempDataLen += sum(map(len, frame))
            if self._depth:
                self._written_to[id(transport)] = transport
            else:
                _flush_plain(transport)

    def wrote(self, transport: Any) -> None:
        """Something was handed to a transport."""
        if self._depth:
            self._handed_to[id(transport)] = transport
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


def _flush_plain(transport: Any) -> None:
    if not transport.connected:
        return  # gone by now
    # What it says from here on is for the reactor to hear. An error it meets again, when it tries itself.
    if transport.disconnecting or transport._writeDisconnecting:
        transport.startWriting()
    elif transport.dataBuffer or getattr(transport, "_sendmsgQueue", None):
        transport.startWriting()
        transport.doWrite()
    elif transport._tempDataBuffer:
        _write(transport, b"".join(transport._tempDataBuffer))


def _write(transport: Any, waiting: bytes) -> None:
    """Write all that waits, which nobody has tried before."""
    try:
        sent_bytes = transport.socket.send(waiting)
    except OSError:
        sent_bytes = 0  # full, or an error
    transport._tempDataBuffer.clear()
    transport._tempDataLen = 0
    if sent_bytes < len(waiting):
        transport.dataBuffer, transport.offset = waiting, sent_bytes
        transport.startWriting()
