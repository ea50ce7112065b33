"""Payloads that stay in shared memory while their descriptors travel.

Two parties that meet on a Unix socket, of one user by the kernel's word, agree in their handshake
(``descriptors`` in `Hello` and `Welcome`) that large payloads of parcels and results may come by
descriptor: the frame's header starts with ``p`` or ``r``, no payload follows it, and with its first byte
(or before, in the order of the frames) comes the descriptor of sealed memory. In that memory each unit
or segment starts at the next multiple of 64, and it ends with the last.

Rules:

- What comes is checked before anybody reads it: seals, and the size that the header gives.
- A message that holds its payload so (``message.shared``) may be sent to anybody: who cannot take a
  descriptor, or has too many on the way, gets the same bytes in an ordinary frame.
- The descriptor is closed when nobody refers to the message or its payload any more.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from ..sealed import HELD_DESCRIPTORS, SHARE_BYTES, Buffer, Descriptor, Sealed, open_descriptors, places, seal
from ..workers.passing import MAX_UNCLAIMED
from .call_frames import Answer
from .hot_frames import MAX_SEGMENTS, Parcel, Results
from .messages import Message, encode
from .wire import frame_segments, gather

__all__ = [
    "MAX_UNHEARD_BYTES",
    "TELL_BYTES",
    "Handed",
    "accept",
    "as_bytes",
    "kept",
    "parts",
    "result_frames",
    "segments_of",
    "share_units",
    "units_of",
    "unshared_frame",
]

MAX_UNHEARD_BYTES = 256 * 1024 * 1024
"""Shared memory that may be on its way to a peer that says nothing meanwhile."""

TELL_BYTES = 1024 * 1024
"""After so much shared memory the receiver pings, to show that it reads."""

# Smaller units are read from the file one by one at the node, which costs more than it saves.
MIN_UNIT_BYTES = 64 * 1024

# Smaller payloads are copied out of the reads that they came in, which are larger.
COPIED_BYTES = 64 * 1024


def _sizes(message: Parcel | Results | Answer) -> list[int]:
    if isinstance(message, Answer):
        return [message.size]
    if isinstance(message, Parcel):
        return [size for _, size in message.units]
    return [segment[4] for segment in message.segments]


def accept(message: Parcel | Results | Answer, descriptor: Descriptor) -> None:
    """Attach what came by descriptor to its message.

    Raises:
        ProtocolError: It is not what the header says.
    """
    message.shared = Sealed.accept(descriptor, places(_sizes(message))[1])


def parts(message: Parcel | Results | Answer) -> list[Sealed]:
    """The shared units or segments of a message."""
    assert message.shared is not None
    sizes = _sizes(message)
    starts = places(sizes)[0]
    return [message.shared.part(start, size) for start, size in zip(starts, sizes, strict=True)]


def as_bytes(message: Parcel | Results | Answer) -> list[Buffer]:
    """The shared payload as an ordinary frame has it."""
    message.by_descriptor = False
    return [part.read() for part in parts(message)]


def unshared_frame(message: Message, segments: Iterable[Buffer]) -> Sequence[Buffer | Sealed]:
    """A frame for a transport that takes no descriptors, and reads what is shared when it gets to it."""
    if not isinstance(message, Parcel | Results | Answer) or message.shared is None:
        return frame_segments(message, segments)
    message.by_descriptor = False
    frame: list[Buffer | Sealed] = [encode(message, message.size)]
    for part in kept(parts(message)):
        frame += part if isinstance(part, list) else [part]
    return frame


def kept(shared: list[Sealed]) -> list[Sealed | list[Buffer]]:
    """Units to be kept for a while: shared, unless this process has many of them."""
    if open_descriptors() <= HELD_DESCRIPTORS:
        return [*shared]
    return [[part.read()] for part in shared]


def share_units(parcel: Parcel, units: list[list[Buffer]]) -> None:
    """Put a parcel's units into shared memory, if they are large and the system lets us."""
    parcel.size = sum(_sizes(parcel))
    if parcel.size >= max(SHARE_BYTES, MIN_UNIT_BYTES * len(units)):
        parcel.shared = seal(units)


def units_of(parcel: Parcel, chunks: list[Buffer]) -> list[list[Buffer] | Sealed]:
    """The units of a parcel. Of large ones nothing is copied: each is the pieces that it came in."""
    if parcel.shared is not None:
        return kept(parts(parcel))
    if parcel.size < COPIED_BYTES:
        chunks = [gather(chunks)]  # lets go of the reads that it was a part of
    came = iter(chunks)
    view = memoryview(b"")
    units: list[list[Buffer] | Sealed] = []
    for size in _sizes(parcel):
        unit: list[Buffer] = []
        missing = size
        while missing:
            view = view or memoryview(next(came))
            unit.append(view[:missing])
            view = view[missing:]
            missing -= len(unit[-1])
        units.append(unit)
    return units


def segments_of(results: Results, chunks: list[Buffer]) -> list[tuple[int, int, int, int, Buffer]]:
    """The segments of a results frame, each with its payload at its end."""
    if results.shared is not None:
        both = zip(results.segments, parts(results), strict=True)
        return [(*segment[:4], part.view()) for segment, part in both]
    payload = memoryview(gather(chunks))
    segments: list[tuple[int, int, int, int, Buffer]] = []
    start = 0
    for first, tasks, status, busy_us, size in results.segments:
        segments.append((first, tasks, status, busy_us, payload[start : start + size]))
        start += size
    return segments


def result_frames(
    job: int, parcel: int, attempt: int, segments: Sequence[tuple[int, int, int, int, Buffer | Sealed]]
) -> Iterator[tuple[Results, list[Buffer]]]:
    """Results as frames: of many small segments, and of one shared segment each."""
    small: list[Buffer] = []
    facts: list[tuple[int, int, int, int, int]] = []
    for *place, payload in segments:
        first, tasks, status, busy_us = place
        fact = first, tasks, status, busy_us, len(payload)
        if isinstance(payload, Sealed):
            yield Results(job, parcel, attempt, [fact], len(payload), shared=payload), []
            continue
        facts.append(fact)
        small.append(payload)
        if len(facts) == MAX_SEGMENTS:
            yield Results(job, parcel, attempt, facts), small
            small, facts = [], []
    if facts:
        yield Results(job, parcel, attempt, facts), small


class Handed:
    """The descriptors that were handed to a transport, as far as they may still wait there.

    Args:
        most_unheard_bytes: Shared memory that may go to a peer that says nothing meanwhile.
    """

    def __init__(self, most_unheard_bytes: int = MAX_UNHEARD_BYTES) -> None:
        self._most_unheard_bytes = most_unheard_bytes
        self._waiting: deque[tuple[weakref.ref[Descriptor], int]] = deque()
        self._unheard_bytes = 0

    def heard(self) -> None:
        """The peer said something, so it reads."""
        self._unheard_bytes = 0

    def room(self) -> bool:
        """Whether one more may follow."""
        self._forget_sent()
        return len(self._waiting) < MAX_UNCLAIMED and self._unheard_bytes < self._most_unheard_bytes

    def add(self, descriptor: Descriptor, size_bytes: int) -> None:
        """One was handed over, of so much shared memory."""
        self._waiting.append((weakref.ref(descriptor), size_bytes))
        self._unheard_bytes += size_bytes

    def waiting_bytes(self) -> int:
        """Shared memory that waits for the other side to read."""
        if not self._waiting:
            return 0
        self._forget_sent()
        return sum([size for _, size in self._waiting])

    def _forget_sent(self) -> None:
        while self._waiting and self._waiting[0][0]() is None:
            self._waiting.popleft()

    def close(self) -> None:
        """The connection is lost: close those that wait in what is left of the transport."""
        while self._waiting:
            descriptor = self._waiting.popleft()[0]()
            if descriptor is not None:
                descriptor.close()
