"""Single calls that are run at once or not at all, and their answers.

A call whose caller waits for it needs no plan: it goes to a node that most likely has an idle worker, past
parcels and demands, and comes back unrun if it has none. One travels in a frame, so the headers are short
fields as those of parcels (see `achilles.lineReceiver.hot_frames`)::

    C <job> <call> <index> <size>
    A <call> <status> <busy_us> <size>

``a`` is an answer whose payload comes by descriptor. The numbers of jobs and calls are good on one
connection: the server gives calls numbers of its own towards nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

from achilles.lineReceiver.control import Control
from achilles.lineReceiver.fields import Count
from achilles.lineReceiver.hot_frames import bad, numbers_in
from achilles.sealed import Sealed

__all__ = [
    "CALL_LOST",
    "CALL_PARSERS",
    "CALL_REFUSED",
    "MAX_CALLS",
    "MAX_CALL_BYTES",
    "Answer",
    "Call",
    "GiveUp",
    "Shortcut",
    "call_header",
]

MAX_CALL_BYTES = 65_536
"""Largest payload of a `Call`: so much a socket takes at once."""

MAX_CALLS = 64
"""Most calls of one controller that are out; more are refused, which costs it a round trip each."""

CALL_REFUSED, CALL_LOST = 3, 4
"""Status of an answer, beside those of a segment: it was not run; what became of it nobody knows."""


class Call(msgspec.Struct, gc=False):
    """One item to be run at once, if it can be: controller -> server -> node.

    Attributes:
        job: Whose function it is, by its number on this connection.
        call: The call's own number, which its answer has.
        index: The number of the item within the job, for what it prints.
        size: Bytes of payload, the serialized list of its one argument.
    """

    by_descriptor: ClassVar[bool] = False
    shared: ClassVar[None] = None
    job: int
    call: int
    index: int
    size: int = 0


class Answer(msgspec.Struct, gc=False):
    """What came of a call: node -> server -> controller.

    Attributes:
        call: The call's number on this connection.
        status: As of a segment of results, or `CALL_REFUSED`, or `CALL_LOST`.
        busy_us: How long it took.
        size: Bytes of payload, as of a segment of one item; none when it was refused or lost.
        by_descriptor: As of `Parcel`.
        shared: As of `Parcel`.
    """

    call: int
    status: int
    busy_us: int
    size: int = 0
    by_descriptor: bool = False
    shared: Sealed | None = None


class GiveUp(Control):
    """Controller -> server -> node: nobody waits for this call any more; its answer is dropped."""

    call: Count


class Shortcut(Control):
    """Server -> node, server -> controller: calls of a job may go over a socket between the two.

    With ``opens`` the descriptor of one end of it comes with the frame. The controller hears besides what
    the job's number at the node is.
    """

    shortcut: Count
    job: Count
    there: Count = 0
    opens: bool = False


def parse_call(line: bytes) -> Call:
    """Read a ``C`` header line (without its CRLF), or raise :class:`ProtocolError`."""
    _, job, call, index, size = numbers_in(line, b"C    ")
    if size > MAX_CALL_BYTES:
        raise bad(line, f"announces more than {MAX_CALL_BYTES} bytes")
    return Call(job, call, index, size)


def parse_answer(line: bytes) -> Answer:
    """Read an ``A`` or ``a`` header line (without its CRLF), or raise :class:`ProtocolError`."""
    _, call, status, busy_us, size = numbers_in(line, line[:1] + b"    ")
    if status > CALL_LOST or (status >= CALL_REFUSED and size):
        raise bad(line, "holds an unknown status, or a payload where there is none")
    if line[:1] == b"A":
        return Answer(call, status, busy_us, size)
    if not size:
        raise bad(line, "has no payload that a descriptor could bring")
    return Answer(call, status, busy_us, size, True)


CALL_PARSERS: dict[bytes, Callable[[bytes], Call | Answer]] = {
    b"C": parse_call,
    b"A": parse_answer,
    b"a": parse_answer,
}
"""Who reads a header line, by its first byte."""


def call_header(message: Call | Answer) -> bytes:
    """The header line of a call or an answer, CRLF included.

    Raises:
        ValueError: The other side would refuse it.
    """
    size = message.size
    if isinstance(message, Call):
        if size > MAX_CALL_BYTES:
            raise ValueError(f"a call has at most {MAX_CALL_BYTES} bytes")
        return b"C %d %d %d %d\r\n" % (message.job, message.call, message.index, size)
    if size and message.status >= CALL_REFUSED:
        raise ValueError("the answer to a call that was not run has no payload")
    letter = b"a" if message.by_descriptor else b"A"
    return b"%b %d %d %d %d\r\n" % (letter, message.call, message.status, message.busy_us, size)
