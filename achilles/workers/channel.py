"""The byte stream between a worker process and its parent: both ends, and what is said.

``BlockingChannel`` is the worker's end (plain descriptors, no event loop), ``LoopChannel`` the parent's end
(never blocks, lives on a loop with Twisted's reader and writer methods). Frames are those of
``achilles.workers.frames``.

Rules:

- What was queued for sending is referenced, not copied: callers leave their segments alone.
- A stream that does not carry the magic number is broken for good (``BrokenChannelError``).
"""

from __future__ import annotations

import _socket
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from achilles.errors import ProtocolError
from achilles.sealed import SHARE_BYTES, Buffer, Payload, Sealed, seal
from achilles.workers.frames import (
    BY_DESCRIPTOR,
    HEADER,
    MAGIC,
    PLACE,
    BrokenChannelError,
    FrameReader,
    Message,
)
from achilles.workers.passing import (
    SEGMENTS_PER_CALL,
    SendQueue,
    drop_front,
    flat,
    receive_into,
    rights,
)

if TYPE_CHECKING:
    import socket

    from achilles.workers.loop import Loop

# parent -> worker
FUNCTION = (
    1  #: a = session, b = 1 if items are timed; payload: serialized (func, callback, reducer, on_error)
)
UNIT = 2  #: a = first index, b = skip << 32 | limit, c = packet_tasks; payload: arguments
REDUCE = 3  #: a = first index, b = tasks, c = parts; payload: c u64 sizes, then the parts
FORGET = 4  #: the job's function is no longer needed
MODULE = 5  #: a = request, b = bytes of JSON at the payload's start; payload: JSON, then source
EXIT = 6  #: leave after what came before
START = 7  #: payload: marshalled start facts; the first message a worker gets
BLOB = 8  #: a = request, status = 1: it cannot be had; payload: the blob's bytes, or why not, UTF-8
DROP_BLOB = 9  #: a = session; payload: the name of a blob that need not be kept any more
#: a = request, status = 1: there is no room; b = number of the node + 1, or 0; payload: 32 bytes of the
#: value's name, then the node's, UTF-8
KEPT = 10

# worker -> parent
READY = 16
RESULT = 17  #: status, a = first index, b = tasks, c = busy_ns; payload by status
FETCH = 18  #: a = request; payload: the wanted module's name, UTF-8
#: a = number of a UNIT, counted from 1 with the REDUCEs, of which no more is run; b = than so many tasks
UNBEGUN = 19
LAST_RESULT = 20  #: as RESULT; the worker runs nothing more, and ends
#: a = request, b = bytes of the wanted blob; c = 0: payload is its SHA-256; c = 1: it is the name of a kept
#: value of the controller's machine; else of the node of number c - 2
FETCH_BLOB = 21
EARLY_RESULT = 23  #: as RESULT, of the first items of the UNIT that runs; its RESULT is for those after them
KEEP = 22  #: a = request; payload: a serialized value, to be kept for the session

# status of a UNIT: one of these, both or none
SINGLY = 1  #: each item is noted before it is run
MORE_SOON = (
    2  #: the answer is waited for, and another unit may follow at once: look out for it before sleeping
)

# status of a RESULT
OK = 0
SOME_FAILED = 1
ALL_FAILED = 2

#: One descriptor reads at most this much before the loop's other descriptors get their turn.
READ_TURN_BYTES = 8 * 1024 * 1024


class BlockingChannel:
    """The worker's end: blocking reads and writes on a plain descriptor.

    ``_socket`` rather than ``socket``: the worker then never imports the latter, nor what it needs.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._sock = _socket.socket(fileno=fd)
        self._reader = FrameReader()

    def fileno(self) -> int:
        return self._fd

    def receive(self) -> list[Message]:
        """Block until at least one more read succeeded; the list may be empty.

        A payload that came by descriptor is read into a ``bytearray`` as well. That is faster than
        working on a mapping: memory that was used before costs no page faults. Only a BLOB stays as it came.

        Raises:
            BrokenChannelError: the parent is gone, or sent no frame.
        """
        reader = self._reader
        count_bytes = receive_into(self._sock, reader.target(), reader.arrived)
        if count_bytes == 0:
            raise BrokenChannelError("the parent closed the channel")
        return [
            (kind, status, job, a, b, c, _at_hand(kind, payload) if isinstance(payload, Sealed) else payload)
            for kind, status, job, a, b, c, payload in reader.received(count_bytes)
        ]

    def send(
        self,
        kind: int,
        status: int = 0,
        job: int = 0,
        a: int = 0,
        b: int = 0,
        c: int = 0,
        segments: Sequence[Buffer] = (),
    ) -> None:
        """Block until the whole message is written. Not for several threads at once."""
        pending: list[Buffer] = [b""]
        size_bytes = 0
        for segment in segments:
            length_bytes = segment.nbytes if isinstance(segment, memoryview) else len(segment)
            if length_bytes:
                size_bytes += length_bytes
                pending.append(segment)
        shared = seal([pending]) if size_bytes >= SHARE_BYTES else None
        if shared is not None:
            place = _placed(shared)
            header = HEADER.pack(kind | BY_DESCRIPTOR, status, MAGIC, job, a, b, c, len(place))
            # So few bytes are taken as a whole.
            self._sock.sendmsg([header + place], rights(shared.descriptor))
            return
        pending[0] = HEADER.pack(kind, status, MAGIC, job, a, b, c, size_bytes)
        total_bytes = HEADER.size + size_bytes
        written_bytes = os.writev(self._fd, pending[:SEGMENTS_PER_CALL])
        if written_bytes == total_bytes:
            return
        queue = deque(flat(segment) for segment in pending)
        while True:
            total_bytes -= written_bytes
            if not total_bytes:
                return
            drop_front(queue, written_bytes)
            written_bytes = os.writev(self._fd, [queue[n] for n in range(min(len(queue), SEGMENTS_PER_CALL))])

    def close(self) -> None:
        """Close the descriptor; later use raises OSError instead of touching a reused number."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                os.close(self._sock.detach())
            except OSError:
                pass  # user code closed it first


class LoopChannel:
    """The parent's end: a loop's reader and writer that never blocks.

    Args:
        loop: Where it is registered; see ``achilles.workers.loop.Loop``.
        sock: A connected stream socket; owned from here on.
        on_message: Called in the loop with the fields of each message.
        on_end: Called once in the loop when the other side closed or the stream broke.
        before_messages: Called in the loop when messages came, before they are delivered.

    ``send`` may be called from any thread.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[int, int, int, int, int, int, Payload], None],
        on_end: Callable[[Exception | None], None],
        before_messages: Callable[[], None] | None = None,
    ) -> None:
        import threading

        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._before_messages = before_messages
        self._reader = FrameReader()
        self._queue = SendQueue()
        self._lock = threading.Lock()  # the queue: senders in any thread, doWrite in the loop's
        self._held = False  # whether all that is queued waits for a next message
        self._ended = False
        self._closed = False

    @property
    def queued_bytes(self) -> int:
        """Bytes handed to send() that the kernel has not taken yet."""
        return self._queue.size_bytes

    @property
    def ended(self) -> bool:
        """Whether nothing more will be read."""
        return self._ended

    def start(self) -> None:
        self._loop.addReader(self)

    def fileno(self) -> int:
        return -1 if self._closed else self._sock.fileno()

    def logPrefix(self) -> str:
        return "worker channel"

    def send(
        self,
        kind: int,
        status: int = 0,
        job: int = 0,
        a: int = 0,
        b: int = 0,
        c: int = 0,
        segments: Iterable[Buffer] | Sealed = (),
        more: bool = False,
    ) -> None:
        """Write what the kernel takes at once, queue the rest. Silent when the worker is gone.

        With ``more`` it waits for the next message, or `send_held`: a worker that is woken for each
        of several messages takes the caller's core every time.
        """
        descriptor = None
        if isinstance(segments, Sealed):
            if len(segments) >= SHARE_BYTES:
                descriptor = segments.descriptor
                kind |= BY_DESCRIPTOR
                segments = [_placed(segments)]
            else:
                segments = [segments.read()]
        pending: list[Buffer] = [b""]
        size_bytes = 0
        for segment in segments:
            length_bytes = segment.nbytes if isinstance(segment, memoryview) else len(segment)
            if length_bytes:
                size_bytes += length_bytes
                pending.append(segment)
        pending[0] = HEADER.pack(kind, status, MAGIC, job, a, b, c, size_bytes)
        if descriptor is not None:
            pending = [b"".join(pending)]
        with self._lock:
            if self._closed:
                return
            queue = self._queue
            was_empty = not queue
            if more and (was_empty or self._held):
                self._held = True
                queue.put(pending, descriptor)
                return
            if was_empty and descriptor is None:
                written_bytes = 0
                try:
                    written_bytes = self._sock.sendmsg(pending[:SEGMENTS_PER_CALL])
                except BlockingIOError:
                    pass
                except OSError:
                    return  # the worker is gone; its death is reported by the one who watches it
                if written_bytes == HEADER.size + size_bytes:
                    return
                queue.put(pending)
                queue.sent(written_bytes)
            else:
                queue.put(pending, descriptor)
            if (was_empty or self._held) and not self._flush():
                self._loop.addWriter(self)
            self._held = False

    def send_held(self) -> None:
        """Write what waits for a next message, if anything does."""
        with self._lock:
            if self._held and not self._closed and not self._flush():
                self._loop.addWriter(self)
            self._held = False

    def doWrite(self) -> None:
        """Called by the loop when the socket takes bytes again."""
        with self._lock:
            if self._flush():
                self._loop.removeWriter(self)

    def _flush(self) -> bool:
        """Write what the socket takes; True when nothing is left. The lock is held."""
        queue = self._queue
        try:
            while queue:
                queue.send(self._sock)
        except BlockingIOError:
            return False
        except OSError:
            queue.clear()
        return True

    def doRead(self) -> None:
        """Called by the loop when the socket holds bytes."""
        self._read(READ_TURN_BYTES)

    def drain(self) -> None:
        """Deliver all that the worker had written; for when it is known to be dead."""
        while not self._ended and self._read(READ_TURN_BYTES):
            pass

    def _read(self, turn_bytes: int) -> bool:
        """Read until the socket is empty or the turn is over; True if there may be more."""
        reader = self._reader
        deliver = self._on_message
        while turn_bytes > 0 and not self._closed:
            target = reader.target()
            try:
                count_bytes = receive_into(self._sock, target, reader.arrived)
            except BlockingIOError:
                return False
            except (OSError, ProtocolError) as error:
                self._end(error)
                return False
            if count_bytes == 0:
                self._end(None)
                return False
            try:
                messages = reader.received(count_bytes)
            except BrokenChannelError as error:
                self._end(error)
                return False
            room_bytes = len(target)
            del target
            if messages and self._before_messages is not None:
                self._before_messages()
            for message in messages:
                deliver(*message)
            if count_bytes < room_bytes:
                return True  # most likely all there was; the loop will tell if not
            turn_bytes -= count_bytes
        return not self._closed

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._loop.removeReader(self)
        self._on_end(error)

    def connectionLost(self, reason: Any = None) -> None:
        """Called by Twisted's reactors when the peer hung up with nothing left to read."""
        self._end(None)

    def close(self) -> None:
        """Leave the loop and close the socket; nothing is delivered afterwards."""
        with self._lock:
            if self._closed:
                return
            self._loop.removeReader(self)
            self._loop.removeWriter(self)
            self._closed = True
            self._ended = True
            self._queue.clear()
            self._reader.arrived.close()
            self._sock.close()


def _at_hand(kind: int, shared: Sealed) -> bytearray:
    # A lie about BLOBs alone, which spares all others a check.
    return shared.read() if kind != BLOB else shared  # type: ignore[return-value]


def _placed(shared: Sealed) -> bytes:
    """Where a payload lies in its file; the file ends with the last part that anybody uses."""
    return PLACE.pack(shared.start, shared.size_bytes, os.fstat(shared.descriptor.fileno()).st_size)
