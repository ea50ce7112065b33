"""Frames between a worker process and its parent, and how they are cut from a stream.

A frame is a 40-byte header and ``size`` raw bytes::

    kind  status  magic  job  a  b  c  size      struct "<BBHIqqqQ"

With `BY_DESCRIPTOR` in ``kind`` the payload is in sealed memory (`achilles.sealed`): its descriptor comes
with the header's first byte, and the raw bytes say where in it the payload lies: start and length, and
the length of the whole, three u64.

Knows nothing of sockets, nor what the kinds mean (``achilles.workers.channel`` does). Rules:

- A payload is delivered as a ``bytearray`` of its own, so arrays inside it are writable.
- A large payload is received straight into that bytearray; small ones are cut from one scratch
  buffer, many per read. No byte is copied more than once, whatever the sizes of the reads.
"""

from __future__ import annotations

import struct

from achilles.errors import ProtocolError
from achilles.sealed import Payload, Sealed
from achilles.workers.passing import Arrived

#: (kind, status, job, a, b, c, payload)
Frame = tuple[int, int, int, int, int, int, Payload]
#: The same with the payload at hand.
Message = tuple[int, int, int, int, int, int, bytearray]

#: Added to a kind: the payload comes by descriptor.
BY_DESCRIPTOR = 0x80

HEADER = struct.Struct("<BBHIqqqQ")
PLACE = struct.Struct("<QQQ")
MAGIC = 0xAC1E
SCRATCH_BYTES = 64 * 1024
#: A payload of at least this size that is not complete yet gets its own buffer at once.
OWN_BUFFER_BYTES = 16 * 1024
#: More than this in one header means a broken stream, not a payload.
PAYLOAD_LIMIT_BYTES = 1 << 46


class BrokenChannelError(Exception):
    """The stream holds something that is not a frame, or ended."""


def pack_header(kind: int, status: int, job: int, a: int, b: int, c: int, size_bytes: int) -> bytes:
    return HEADER.pack(kind, status, MAGIC, job, a, b, c, size_bytes)


class FrameReader:
    """Cuts a byte stream into messages, given room to receive into.

    Receive into ``target()``, then call ``received(count)``; it returns the messages completed.
    """

    __slots__ = ("_end", "_filled", "_header", "_large", "_large_view", "_scratch", "arrived")

    def __init__(self, scratch_bytes: int = SCRATCH_BYTES) -> None:
        #: Descriptors that came, for the frames that tell of them.
        self.arrived = Arrived()
        self._scratch = memoryview(bytearray(scratch_bytes))
        self._end = 0
        self._large: bytearray | None = None
        self._large_view = self._scratch[:0]
        self._filled = 0
        self._header: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)

    def target(self) -> memoryview:
        """Where the next bytes of the stream belong; never empty."""
        if self._large is not None:
            return self._large_view[self._filled :]
        return self._scratch[self._end :]

    def received(self, count_bytes: int) -> list[Frame]:
        """Take note that ``count_bytes`` were received into ``target()``."""
        large = self._large
        if large is not None:
            self._filled += count_bytes
            if self._filled < len(large):
                return []
            kind, status, job, a, b, c = self._header
            # The view must go first: while it lives the owner cannot resize the bytearray.
            self._large_view = self._scratch[:0]
            self._large = None
            return [(kind, status, job, a, b, c, large)]
        return self._cut(self._end + count_bytes)

    def _cut(self, end: int) -> list[Frame]:
        messages: list[Frame] = []
        scratch = self._scratch
        start = 0
        while end - start >= HEADER.size:
            kind, status, magic, job, a, b, c, size_bytes = HEADER.unpack_from(scratch, start)
            limit_bytes = PAYLOAD_LIMIT_BYTES if kind < BY_DESCRIPTOR else PLACE.size
            if magic != MAGIC or size_bytes > limit_bytes:
                raise BrokenChannelError("the stream between worker and parent holds foreign bytes")
            body = start + HEADER.size
            if end - body >= size_bytes:
                start = body + size_bytes
                payload = bytearray(scratch[body:start])
                if kind < BY_DESCRIPTOR:
                    messages.append((kind, status, job, a, b, c, payload))
                else:
                    shared = self._claim(payload)
                    messages.append((kind - BY_DESCRIPTOR, status, job, a, b, c, shared))
            elif size_bytes >= OWN_BUFFER_BYTES or HEADER.size + size_bytes > len(scratch):
                self._header = (kind, status, job, a, b, c)
                self._large = large = bytearray(size_bytes)
                self._large_view = memoryview(large)
                self._filled = end - body
                self._large_view[: end - body] = scratch[body:end]
                start = end
            else:
                break
        if start:
            scratch[: end - start] = scratch[start:end]
        self._end = end - start
        return messages

    def _claim(self, place: bytearray) -> Sealed:
        try:
            start, size_bytes, whole_bytes = PLACE.unpack(place)
            return Sealed.accept(self.arrived.claim(), whole_bytes).part(start, size_bytes)
        except (struct.error, ProtocolError) as error:
            raise BrokenChannelError(str(error)) from error
