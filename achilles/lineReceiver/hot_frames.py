"""The two frames that travel by the thousand: a parcel of work, and its results.

Their headers are short ASCII fields instead of JSON, because at this rate the header is the cost::

    P <job> <parcel> <attempt> <node> <first> <tasks> <packet_tasks> <units> <size>
        units = tasks:bytes,tasks:bytes,...                          at most 512
    R <job> <parcel> <attempt> <segments> <size>
        segments = first:tasks:status:busy_us:bytes,...              at most 512

One space between fields, decimal digits only. What a peer may rely on, and what is refused
otherwise: the bytes of all units (segments) add up to ``size``, and the tasks of all units to
``tasks``. Python's ``int`` is not strict enough for this boundary (it takes ``+1``, ``1_0`` and
digits without end) and slower than msgspec, so a line is checked, rewritten as a JSON array and
read by that.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from achilles.errors import ProtocolError

__all__ = ["MAX_INT", "MAX_UNITS", "PIECE_FAILED", "PIECE_OK", "PIECE_PARTLY_FAILED", "Parcel", "Results"]

MAX_UNITS = 512
"""Most units in a parcel, and most segments in a results frame."""

MAX_INT = 2**63 - 1
"""No number on the wire is larger, so every language can hold it."""

PIECE_OK, PIECE_PARTLY_FAILED, PIECE_FAILED = 0, 1, 2
"""Status of a segment: all its items have results, some have failures, the whole range failed."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
PieceStatus = Annotated[int, msgspec.Meta(ge=PIECE_OK, le=PIECE_FAILED)]


class Parcel(msgspec.Struct, array_like=True, gc=False):
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
    """

    job: Count
    parcel: Count
    attempt: Count
    node: Count
    first: Count
    tasks: Count
    packet_tasks: Count
    units: list[tuple[Count, Count]]
    size: Count = 0


class Results(msgspec.Struct, array_like=True, gc=False):
    """Results of some of a parcel's tasks: node -> server -> controller.

    Attributes:
        job: The job's number on this connection.
        parcel: The parcel's number within the job.
        attempt: The attempt these results belong to.
        segments: ``(first, tasks, status, busy_us, bytes)`` of each range, in payload order.
        size: Bytes of payload.
    """

    job: Count
    parcel: Count
    attempt: Count
    segments: list[tuple[Count, Count, PieceStatus, Count, Count]]
    size: Count = 0


_read_parcel = msgspec.json.Decoder(Parcel).decode
_read_results = msgspec.json.Decoder(Results).decode


def _bad(line: bytes, what: str) -> ProtocolError:
    kind = "parcel (P)" if line[:1] == b"P" else "results (R)"
    return ProtocolError(f"the header of a {kind} frame {what}: {line[:60]!r}")


def _as_json(line: bytes, spaces: int) -> bytes:
    """The line's fields as a JSON array, for msgspec to read in one call; or ProtocolError.

    With nothing but digits and separators in it, and each separator in its own place, the line has
    exactly one reading. The rest (empty fields, leading zeros, pieces of the wrong length, numbers
    out of range) is not a valid array of the type.
    """
    if line.translate(None, b"0123456789 :,") != line[:1] or line.count(b" ") != spaces:
        raise _bad(line, "is malformed")
    head, pieces, size = line[2:].rsplit(b" ", 2)
    if b"," in head or b"," in size:
        raise _bad(line, "is malformed")
    return b"[%b,[[%b]],%b]" % (
        head.replace(b" ", b","),
        pieces.replace(b",", b"],[").replace(b":", b","),
        size,
    )


def parse_parcel(line: bytes) -> Parcel:
    """Read a ``P`` header line (without its CRLF), or raise :class:`ProtocolError`."""
    if line.count(b",") >= MAX_UNITS:
        raise _bad(line, f"lists more than {MAX_UNITS} units")
    try:
        parcel = _read_parcel(_as_json(line, 9))
    except msgspec.DecodeError:
        raise _bad(line, "is malformed") from None
    tasks = size = 0
    for unit_tasks, unit_bytes in parcel.units:
        tasks += unit_tasks
        size += unit_bytes
    if tasks != parcel.tasks or size != parcel.size:
        raise _bad(line, "has units that do not add up to its tasks and size")
    return parcel


def parse_results(line: bytes) -> Results:
    """Read an ``R`` header line (without its CRLF), or raise :class:`ProtocolError`."""
    if line.count(b",") >= MAX_UNITS:
        raise _bad(line, f"lists more than {MAX_UNITS} segments")
    try:
        results = _read_results(_as_json(line, 5))
    except msgspec.DecodeError:
        raise _bad(line, "is malformed") from None
    if sum([segment[4] for segment in results.segments]) != results.size:
        raise _bad(line, "has segments that do not add up to its size")
    return results


def format_parcel(parcel: Parcel) -> bytes:
    """The header line of a parcel, CRLF included."""
    return b"P %d %d %d %d %d %d %d %b %d\r\n" % (
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
    return b"R %d %d %d %b %d\r\n" % (
        results.job,
        results.parcel,
        results.attempt,
        b",".join([b"%d:%d:%d:%d:%d" % segment for segment in results.segments]),
        results.size,
    )
