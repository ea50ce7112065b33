"""What waits to be sent on a stream socket, and descriptors beside the bytes.

A descriptor of sealed memory (`achilles.sealed`) travels with the first byte of the frame that tells of it,
as SCM_RIGHTS of a Unix socket. So it arrives no later than that byte, and descriptors arrive in the order
of their frames: the receiver claims them one after the other.

Rules:

- What is queued is referenced, not copied: callers leave their segments alone until it is sent.
- One descriptor per system call. The kernel ends a read after bytes that brought one, so a receiver that
  claims as it reads never has more than a few.
- Descriptors that nobody claims are closed with their `Arrived`; more than `MAX_UNCLAIMED` of them
  are a flood, and one that the kernel could not deliver is an error at once.
"""

from __future__ import annotations

import _socket
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from achilles.errors import ProtocolError
from achilles.sealed import Buffer, Descriptor

__all__ = ["MAX_UNCLAIMED", "Arrived", "SendQueue", "drop_front", "flat", "receive", "receive_into", "rights"]

MAX_UNCLAIMED = 64
"""Most descriptors that may come ahead of their frames."""

#: Buffers per sendmsg/writev; Linux refuses more than 1024.
SEGMENTS_PER_CALL = 512

_ROOM_BYTES = _socket.CMSG_SPACE(4 * 8)
_CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)

Ancillary = list[tuple[int, int, bytes]]


def rights(descriptor: Descriptor) -> Ancillary:
    """The ancillary data that passes a descriptor on."""
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor.fileno()))]


class SendQueue:
    """Bytes that the kernel has not taken yet, and the descriptors that go with some of them.

    Attributes:
        views: The bytes, in pieces.
        size_bytes: How many they are.
    """

    __slots__ = ("_due", "_due_bytes", "_sent_bytes", "size_bytes", "views")

    def __init__(self) -> None:
        self.views: deque[memoryview] = deque()
        self.size_bytes = 0
        self._sent_bytes = 0
        self._due: deque[Descriptor] = deque()
        self._due_bytes: deque[int] = deque()  # where in the stream each of them goes

    def __bool__(self) -> bool:
        return bool(self.views)

    @property
    def descriptors(self) -> int:
        """How many descriptors wait."""
        return len(self._due)

    def put(self, segments: Iterable[Buffer], descriptor: Descriptor | None = None) -> None:
        """Queue segments; a descriptor goes with the first byte of them."""
        views = [flat(segment) for segment in segments]
        added_bytes = sum([len(view) for view in views])
        # From here on nothing is allocated that the garbage collector tracks: a finalizer that it runs
        # may put a frame of its own, which must not land among these.
        if descriptor is not None:
            self._due_bytes.append(self._sent_bytes + self.size_bytes)
            self._due.append(descriptor)
        self.views.extend(views)
        self.size_bytes += added_bytes

    def send(self, sock: _socket.socket, flags: int = 0) -> None:
        """One system call.

        Raises:
            OSError: As of ``sendmsg``; `BlockingIOError` when the socket is full.
        """
        views = self.views
        if not self._due:
            written = sock.sendmsg(_front(views), [], flags)
        else:
            ahead_bytes = self._due_bytes[0] - self._sent_bytes
            if ahead_bytes > 0:
                written = sock.sendmsg(_up_to(views, ahead_bytes), [], flags)
            else:
                written = sock.sendmsg([views[0]], rights(self._due[0]), flags)
                self._due.popleft()
                self._due_bytes.popleft()
        self.sent(written)

    def sent(self, count_bytes: int) -> None:
        """So many bytes have gone, by `send` or another way."""
        drop_front(self.views, count_bytes)
        self.size_bytes -= count_bytes
        self._sent_bytes += count_bytes

    def clear(self) -> None:
        """Forget everything; descriptors are closed unless somebody else holds them."""
        self.views.clear()
        self._due.clear()
        self._due_bytes.clear()
        self.size_bytes = 0


class Arrived:
    """Descriptors that came and whose frames have not been read yet."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Descriptor] = deque()

    def add(self, ancillary: Sequence[tuple[int, int, bytes]], flags: int) -> None:
        """Take in what a ``recvmsg`` brought beside the bytes.

        Raises:
            ProtocolError: The kernel could not deliver all, or there are too many.
        """
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                whole = len(content) - len(content) % 4
                came = [Descriptor(number) for (number,) in struct.iter_unpack("i", content[:whole])]
                for descriptor in came:
                    self.put(descriptor)
        if flags & _socket.MSG_CTRUNC:
            raise ProtocolError(
                "descriptors were lost: too many came at once, or this process may open no more"
            )

    def put(self, descriptor: Descriptor) -> None:
        """Take in one descriptor.

        Raises:
            ProtocolError: There are too many.
        """
        if len(self._waiting) >= MAX_UNCLAIMED:
            raise ProtocolError(f"more than {MAX_UNCLAIMED} descriptors came without their frames")
        self._waiting.append(descriptor)

    def claim(self) -> Descriptor:
        """The descriptor of the frame that was read now.

        Raises:
            ProtocolError: It did not come.
        """
        if not self._waiting:
            raise ProtocolError("a payload was said to come by a descriptor, and none came")
        return self._waiting.popleft()

    def close(self) -> None:
        """Close them all."""
        while self._waiting:
            self._waiting.popleft().close()


def receive_into(sock: _socket.socket, target: memoryview, arrived: Arrived) -> int:
    """Like ``recv_into``, taking descriptors in as well."""
    count, ancillary, flags, _ = sock.recvmsg_into([target], _ROOM_BYTES, _CLOSE_ON_EXEC)
    if ancillary or flags & _socket.MSG_CTRUNC:
        arrived.add(ancillary, flags)
    return count


def receive(sock: _socket.socket, size_bytes: int, arrived: Arrived) -> bytes:
    """Like ``recv``, taking descriptors in as well."""
    content, ancillary, flags, _ = sock.recvmsg(size_bytes, _ROOM_BYTES, _CLOSE_ON_EXEC)
    if ancillary or flags & _socket.MSG_CTRUNC:
        arrived.add(ancillary, flags)
    return content


def flat(segment: Buffer) -> memoryview:
    """The segment as bytes, so that slices and lengths count bytes."""
    view = memoryview(segment)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def drop_front(views: deque[memoryview], count_bytes: int) -> None:
    """Forget the first ``count_bytes``, splitting a piece if need be."""
    while count_bytes:
        piece = views[0]
        if len(piece) > count_bytes:
            views[0] = piece[count_bytes:]
            return
        count_bytes -= len(piece)
        views.popleft()


def _front(views: deque[memoryview]) -> list[memoryview]:
    if len(views) <= SEGMENTS_PER_CALL:
        return list(views)
    return [views[position] for position in range(SEGMENTS_PER_CALL)]


def _up_to(views: deque[memoryview], count_bytes: int) -> list[memoryview]:
    """The pieces that make up the next ``count_bytes``, as many as one call takes."""
    pieces: list[Any] = []
    for piece in views:
        if count_bytes <= 0 or len(pieces) == SEGMENTS_PER_CALL:
            break
        pieces.append(piece)
        count_bytes -= len(piece)
    return pieces
