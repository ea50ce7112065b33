"""Bytes in, frames out: the sans-I/O parser shared by Twisted protocols and plain sockets.

Knows: how far into a header or payload the stream is. Must never know: sockets, who the peer is,
or what a payload means.

Rules:

* Cost is linear in what is received, whatever the sizes of frames and reads. A payload is a list
  of chunks as they came and is never joined here.
* Memory is taken only as bytes arrive: a header that announces a terabyte costs nothing.
* A header is checked against the limits before its payload is awaited. Bytes that cannot begin a
  header are refused at the first one, without waiting for a line to end.
* After one :class:`ProtocolError` the stream has no frame boundaries any more: everything that
  follows is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from achilles.errors import ProtocolError
from achilles.lineReceiver.hot_frames import bad_header
from achilles.lineReceiver.messages import (
    BEGINNINGS,
    CALL_BEGINNINGS,
    MAX_HEADER_BYTES,
    Message,
    encode,
    parse_header,
)

__all__ = [
    "BEFORE_AUTHENTICATION_LIMITS",
    "READ_BYTES",
    "SHORT_READ_BYTES",
    "Buffer",
    "FrameParser",
    "Limits",
    "frame_segments",
    "gather",
    "next_read_bytes",
]

READ_BYTES = 1 << 20
"""Bytes per read and per write; Twisted's 64 and 128 KiB cost a third of the throughput."""

SHORT_READ_BYTES = 1 << 16
"""Bytes per read while less comes: memory for more is mapped anew each time, which takes 15 µs."""

Buffer = bytes | bytearray | memoryview
Chunks = list[Buffer]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a peer may make us keep for one frame."""

    header_bytes: int = MAX_HEADER_BYTES
    payload_bytes: int = 2**30


BEFORE_AUTHENTICATION_LIMITS = Limits(payload_bytes=64 * 1024)


def next_read_bytes(came_bytes: int) -> int:
    """How much to read at a time, where so much came the last time."""
    return READ_BYTES if came_bytes >= SHORT_READ_BYTES else SHORT_READ_BYTES


class FrameParser:
    """Cuts a byte stream into frames.

    Attributes:
        limits: May be replaced between two frames; :meth:`frames` heeds it from the next header on.
    """

    __slots__ = ("_chunks", "_failed", "_message", "_missing_bytes", "_partial", "limits")

    def __init__(self, limits: Limits = BEFORE_AUTHENTICATION_LIMITS) -> None:
        self.limits = limits
        self._partial = b""  # a header line whose end has not come
        self._message: Message | None = None  # the frame whose payload is coming
        self._chunks: Chunks = []
        self._missing_bytes = 0
        self._failed = False

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended: a connection lost now was cut off."""
        return self._message is not None or bool(self._partial)

    def feed(self, data: bytes) -> list[tuple[Message, Chunks]]:
        """Take what was received; return the frames that it completes.

        While the limits may still change (during the handshake), use :meth:`frames`.

        Raises:
            ProtocolError: The peer broke the protocol. Frames completed by the same ``data`` are lost.
        """
        return list(self.frames(data))

    def only(self, data: bytes) -> tuple[Message, Chunks] | None:
        """The frame that these bytes are, if they are a call or an answer and nothing else.

        It is what `frames` would give, for less. Otherwise None, and nothing was taken.
        """
        if data[:1] not in CALL_BEGINNINGS or self._partial or self._message is not None or self._failed:
            return None
        header_end = data.find(b"\r\n", 0, self.limits.header_bytes)
        if header_end < 0:
            return None
        try:
            message = parse_header(data[:header_end])
        except ProtocolError:
            return None  # it comes again
        payload_start = header_end + 2
        if payload_start + message.size != len(data) or message.size > self.limits.payload_bytes:
            return None
        return message, [memoryview(data)[payload_start:]] if message.size else []

    def frames(self, data: bytes) -> Iterator[tuple[Message, Chunks]]:
        """Like :meth:`feed`, one frame at a time: each is cut only when asked for.

        An iterator that is dropped half-way loses the rest of ``data``, so drop it only together
        with the connection.
        """
        if self._failed:
            raise ProtocolError("the stream was refused after an earlier protocol error")
        try:
            yield from self._cut(data)
        except ProtocolError:
            self._failed = True
            self._partial = b""
            self._message = None
            self._chunks = []
            raise

    def _cut(self, data: bytes) -> Iterator[tuple[Message, Chunks]]:
        position, end = 0, len(data)
        if self._message is not None:
            missing = self._missing_bytes
            if end < missing:
                self._chunks.append(data)
                self._missing_bytes = missing - end
                return
            self._chunks.append(data if end == missing else _slice(data, 0, missing))
            position = missing
            frame = self._message, self._chunks
            self._message, self._chunks = None, []
            yield frame
        while position < end:
            line_end = data.find(b"\n", position, position + self.limits.header_bytes - len(self._partial))
            if line_end < 0:
                self._keep_partial(data, position)
                return
            line = data[position : line_end + 1]
            if self._partial:
                line = self._partial + line
                self._partial = b""
            if line[-2:] != b"\r\n":
                raise bad_header("a header line ends with CR LF, and this with LF alone", line)
            message = parse_header(line[:-2])
            size = message.size
            position = line_end + 1
            if not size:
                yield message, []
                continue
            if size > self.limits.payload_bytes:
                raise ProtocolError(
                    f"a {type(message).__name__.lower()} frame announces {size} bytes of payload; "
                    f"the limit is {self.limits.payload_bytes}"
                )
            if message.by_descriptor:
                yield message, []
                continue
            payload_end = position + size
            if payload_end <= end:
                chunk = _slice(data, position, payload_end)
                position = payload_end
                yield message, [chunk]
            else:
                self._message = message
                self._chunks = [] if position == end else [_slice(data, position, end)]
                self._missing_bytes = payload_end - end
                return

    def _keep_partial(self, data: bytes, position: int) -> None:
        self._partial += data[position : position + self.limits.header_bytes]
        if self._partial[0] not in BEGINNINGS:
            raise bad_header(
                f"a header line starts with one of {BEGINNINGS.decode()}, and this does not", self._partial
            )
        if len(self._partial) >= self.limits.header_bytes:
            raise bad_header(f"no line end within {self.limits.header_bytes} bytes of header", self._partial)


def _slice(data: bytes, start: int, end: int) -> Buffer:
    """A part of what was read: a view if it is most of it, else a copy.

    A view keeps the whole read alive; a small payload that waits somewhere must not pin a megabyte.
    """
    if (end - start) * 4 < len(data):
        return data[start:end]
    return memoryview(data)[start:end]


def gather(chunks: Sequence[Buffer]) -> bytearray:
    """A payload's chunks as one writable buffer; copies once."""
    if len(chunks) == 1:
        return bytearray(chunks[0])
    return bytearray().join(chunks)


def frame_segments(message: Message, segments: Iterable[Buffer] = ()) -> list[Buffer]:
    """A frame as buffers to be written one after the other: its header line, then the payload.

    When the payload goes by descriptor, that is the header line alone.
    """
    if message.by_descriptor:
        return [encode(message, message.size)]
    frame: list[Buffer] = [b""]
    payload_bytes = 0
    for segment in segments:
        size = len(segment) if isinstance(segment, bytes) else memoryview(segment).nbytes
        if size:
            payload_bytes += size
            frame.append(segment)
    frame[0] = encode(message, payload_bytes)
    return frame
