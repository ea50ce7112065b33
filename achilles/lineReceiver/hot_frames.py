"""The two frames that travel by the thousand: a parcel of work, and its results.

Their headers are short ASCII fields instead of JSON, because at this rate the header is the cost::

    P <job> <parcel> <attempt> <node> <first> <tasks> <packet_tasks> <units> <size>
        units = tasks:bytes,tasks:bytes,...                          at most 512
    R <job> <parcel> <attempt> <segments> <size>
        segments = first:tasks:status:busy_us:bytes,...              at most 512

``p`` and ``r`` are the same, for payloads that come by descriptor (`achilles.lineReceiver.shared_payloads`).
One space between fields, decimal digits only. What a peer may rely on, and what is refused
otherwise: the bytes of all units (segments) add up to ``size``, and the tasks of all units to ``tasks``, of
which there are at most ``MAX_TASKS``. Python's ``int`` is not strict enough for this boundary (it takes
``+1``, ``1_0`` and digits without end) and slower than msgspec, so a line is checked, rewritten as a JSON
array and read by that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from achilles.errors import ProtocolError
from achilles.sealed import Sealed

__all__ = [
    "MAX_INT",
    "MAX_SEGMENTS",
    "MAX_TASKS",
    "MAX_UNITS",
    "PIECE_FAILED",
    "PIECE_OK",
    "PIECE_PARTLY_FAILED",
    "Parcel",
    "Results",
    "bad",
    "bad_header",
    "numbers_in",
]

MAX_UNITS = 512
"""Most units in a parcel, and most segments in a results frame."""

MAX_SEGMENTS = 190
"""So many segments fit in a header whatever their numbers are; a sender splits after these."""

MAX_INT = 2**63 - 1
"""No number on the wire is larger, so every language can hold it."""

MAX_TASKS = 2**31 - 1
"""Most tasks in a parcel: a worker counts those of a unit in 31 bits."""

PIECE_OK, PIECE_PARTLY_FAILED, PIECE_FAILED = 0, 1, 2
"""Status of a segment: all its items have results, some have failures, the whole range failed."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]


class Parcel(msgspec.Struct, gc=False):
    """Work for one node: controller -> server -> node.

    Attributes:
        job: The job's number on this connection.
        parcel: The parcel's number within the job.
        attempt: How often it was handed out, this time included.
        node: The node it was cut for.
        first: Index of its first task within the job.
        tasks: How many tasks it holds.
        packet_tasks: Tasks in one packet; the last packet may be shorter.
        units: ``(tasks, bytes)`` of each unit, in the order of the payload.
        size: Bytes of payload.
        by_descriptor: No payload follows the header; a descriptor comes with it.
        shared: The payload itself, when it is in sealed memory.
    """

    job: int
    parcel: int
    attempt: int
    node: int
    first: int
    tasks: int
    packet_tasks: int
    units: list[tuple[int, int]]
    size: int = 0
    by_descriptor: bool = False
    shared: Sealed | None = None


class Results(msgspec.Struct, gc=False):
    """Results of some of a parcel's tasks: node -> server -> controller.

    Attributes:
        job: The job's number on this connection.
        parcel: The parcel's number within the job.
        attempt: The attempt these results belong to.
        segments: ``(first, tasks, status, busy_us, bytes)`` of each range, in payload order.
        size: Bytes of payload.
        by_descriptor: As of `Parcel`.
        shared: As of `Parcel`.
    """

    job: int
    parcel: int
    attempt: int
    segments: list[tuple[int, int, int, int, int]]
    size: int = 0
    by_descriptor: bool = False
    shared: Sealed | None = None


_read_numbers = msgspec.json.Decoder(list[Count]).decode
_DIGITS = b"0123456789"
_AS_COMMAS = bytes.maketrans(b" :", b",,")


def bad_header(what: str, line: bytes) -> ProtocolError:
    """The error for a line: the peer sees how it began, a log does not, since it may be payload."""
    return ProtocolError(f"{what}: {line[:60]!r}", logged=what)


_KINDS = {b"P": "parcel (P)", b"R": "results (R)", b"C": "call (C)", b"A": "answer (A)"}


def bad(line: bytes, what: str) -> ProtocolError:
    """The error for the line of a frame with short fields."""
    return bad_header(f"the header of a {_KINDS[line[:1].upper()]} frame {what}", line)


def numbers_in(line: bytes, separators: bytes) -> list[int]:
    """The line's numbers, after a zero in place of its letter; or ProtocolError.

    What is left of the line without its digits must be exactly ``separators``: then nothing else is
    in it and each separator is in its place. As a JSON array it may hold no empty field, no leading
    zero (so no digit can stick to the letter either) and no number out of range.
    """
    if line.translate(None, _DIGITS) != separators:
        raise bad(line, "is malformed")
    try:
        return _read_numbers(b"[0%b]" % line[1:].translate(_AS_COMMAS))
    except msgspec.DecodeError:
        raise bad(line, "is malformed") from None


def parse_parcel(line: bytes) -> Parcel:
    """Read a ``P`` header line (without its CRLF), or raise :class:`ProtocolError`."""
    commas = line.count(b",")
    if commas >= MAX_UNITS:
        raise bad(line, f"lists more than {MAX_UNITS} units")
    numbers = numbers_in(line, b"P        :%b " % (b",:" * commas) if commas else b"P        : ")
    if not commas:  # the common case, at two thirds of the general one's cost
        _, job, parcel, attempt, node, first, tasks, packet_tasks, all_tasks, all_bytes, size = numbers
        units = [(all_tasks, all_bytes)]
    else:
        _, job, parcel, attempt, node, first, tasks, packet_tasks = numbers[:8]
        size = numbers[-1]
        unit_tasks, unit_bytes = numbers[8:-1:2], numbers[9:-1:2]
        units = list(zip(unit_tasks, unit_bytes, strict=True))
        all_tasks, all_bytes = sum(unit_tasks), sum(unit_bytes)
    if all_tasks != tasks or all_bytes != size:
        raise bad(line, "has units that do not add up to its tasks and size")
    if tasks > MAX_TASKS or first > MAX_INT - tasks:
        raise bad(line, "holds more tasks than can be counted")
    return Parcel(job, parcel, attempt, node, first, tasks, packet_tasks, units, size)


def parse_results(line: bytes) -> Results:
    """Read an ``R`` header line (without its CRLF), or raise :class:`ProtocolError`."""
    commas = line.count(b",")
    if commas >= MAX_UNITS:
        raise bad(line, f"lists more than {MAX_UNITS} segments")
    numbers = numbers_in(line, b"R    ::::%b " % (b",::::" * commas) if commas else b"R    :::: ")
    if not commas:
        _, job, parcel, attempt, first, tasks, worst, busy_us, all_bytes, size = numbers
        segments = [(first, tasks, worst, busy_us, all_bytes)]
    else:
        _, job, parcel, attempt = numbers[:4]
        size = numbers[-1]
        columns = [numbers[start:-1:5] for start in range(4, 9)]
        segments = list(zip(*columns, strict=True))
        worst, all_bytes = max(columns[2]), sum(columns[4])
    if all_bytes != size:
        raise bad(line, "has segments that do not add up to its size")
    if worst > PIECE_FAILED:
        raise bad(line, "holds an unknown status")
    return Results(job, parcel, attempt, segments, size)


def _shared(line: bytes) -> Parcel | Results:
    """Read a ``p`` or ``r`` header line."""
    whole = parse_parcel(b"P" + line[1:]) if line[:1] == b"p" else parse_results(b"R" + line[1:])
    if not whole.size:
        raise bad(line, "has no payload that a descriptor could bring")
    whole.by_descriptor = True
    return whole


PARSERS: dict[bytes, Callable[[bytes], Parcel | Results]] = {
    b"P": parse_parcel,
    b"R": parse_results,
    b"p": _shared,
    b"r": _shared,
}
"""Who reads a header line, by its first byte."""


def format_parcel(parcel: Parcel) -> bytes:
    """The header line of a parcel, CRLF included."""
    return b"%b %d %d %d %d %d %d %d %b %d\r\n" % (
        b"p" if parcel.by_descriptor else b"P",
        parcel.job,
        parcel.parcel,
        parcel.attempt,
        parcel.node,
        parcel.first,
        parcel.tasks,
        parcel.packet_tasks,
        b",".join([b"%d:%d" % unit for unit in parcel.units]),
        parcel.size,
    )


def format_results(results: Results) -> bytes:
    """The header line of a results frame, CRLF included."""
    return b"%b %d %d %d %b %d\r\n" % (
        b"r" if results.by_descriptor else b"R",
        results.job,
        results.parcel,
        results.attempt,
        b",".join([b"%d:%d:%d:%d:%d" % segment for segment in results.segments]),
        results.size,
    )
