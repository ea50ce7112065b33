"""One type per message of the line protocol, and their header lines.

A frame is one ASCII header line that ends with CRLF, and exactly ``size`` raw bytes. Control
headers are one JSON object, with its ``type`` and (when there is a payload) its ``size``; the
hot ones, parcels, results, calls and answers, are written as short fields (see
:mod:`~achilles.lineReceiver.hot_frames`, :mod:`~achilles.lineReceiver.call_frames`).
Unknown fields are ignored and unknown types refused, so that newer peers may say more. Fields that
hold their default are left out.

This module must never know sockets, Twisted or pickle, nor unpickle what it routes.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Union, cast

import msgspec

from achilles.core.scheduler_events import MAX_EARLY_CANCELS
from achilles.errors import ProtocolError
from achilles.lineReceiver.call_frames import (
    CALL_LOST,
    CALL_PARSERS,
    CALL_REFUSED,
    MAX_CALL_BYTES,
    Answer,
    Call,
    GiveUp,
    Shortcut,
    call_header,
)
from achilles.lineReceiver.control import Control, control_line
from achilles.lineReceiver.fetch_messages import (
    MAX_PIECE_BYTES,
    Blob,
    DropKept,
    Fetch,
    FetchBlob,
    Fetched,
    FetchKept,
    KeptPiece,
)
from achilles.lineReceiver.fields import (
    JOB_OPTIONS,
    KEEPS_OPTION,
    MAX_SLOTS,
    NEEDS_OPTION,
    Count,
    Digest,
    Offers,
    Patterns,
    Priority,
    Promises,
    Role,
    ScramText,
    Short,
    Slots,
    TaskSlots,
    Version,
)
from achilles.lineReceiver.hot_frames import (
    MAX_SEGMENTS,
    MAX_UNITS,
    PARSERS,
    PIECE_FAILED,
    PIECE_OK,
    PIECE_PARTLY_FAILED,
    Parcel,
    Results,
    bad_header,
    format_parcel,
    format_results,
)
from achilles.lineReceiver.moving import Abandon, Lent, Returned, TakeBack
from achilles.lineReceiver.upkeep import Capacity, Drain, Exit, Kill, Killed, Ping, Pong, Status, StatusReply

__all__ = [
    "ALLOWED",
    "BEFORE_AUTHENTICATION",
    "BEGINNINGS",
    "CALL_BEGINNINGS",
    "CALL_LOST",
    "CALL_REFUSED",
    "JOB_OPTIONS",
    "KEEPS_OPTION",
    "MAX_CALL_BYTES",
    "MAX_EARLY_CANCELS",
    "MAX_HEADER_BYTES",
    "MAX_OUTPUT_BYTES",
    "MAX_PIECE_BYTES",
    "MAX_SEGMENTS",
    "MAX_SLOTS",
    "MAX_UNITS",
    "MAX_WHOLE_BYTES",
    "NEEDS_OPTION",
    "PIECE_FAILED",
    "PIECE_OK",
    "PIECE_PARTLY_FAILED",
    "PROTOCOL",
    "Abandon",
    "Answer",
    "Blob",
    "Call",
    "Cancel",
    "CancelItem",
    "Capacity",
    "Challenge",
    "Control",
    "Demand",
    "Drain",
    "DropKept",
    "Error",
    "Exhausted",
    "Exit",
    "Failed",
    "Fetch",
    "FetchBlob",
    "FetchKept",
    "Fetched",
    "Finished",
    "Forget",
    "GiveUp",
    "Hello",
    "Job",
    "KeptPiece",
    "Kill",
    "Killed",
    "Lent",
    "Message",
    "Output",
    "Parcel",
    "Ping",
    "Pong",
    "Proof",
    "Resend",
    "Results",
    "Returned",
    "Role",
    "Shortcut",
    "Status",
    "StatusReply",
    "Submit",
    "TakeBack",
    "Welcome",
    "check_allowed",
    "encode",
    "parse_header",
]

PROTOCOL = 1
"""Version of the line protocol; the two sides' must be equal."""

MAX_HEADER_BYTES = 16_384
"""Longest header line, CRLF included."""

MAX_OUTPUT_BYTES = 65_536
"""Largest payload of an `Output`."""

MAX_WHOLE_BYTES = 65_536
"""The most payload of a parcel that comes with its job."""


class Hello(Control):
    """First frame of every connection, from the side that dialled."""

    protocol: int
    role: Role
    version: Short = ""
    python: Version = (0, 0)
    host: Short = ""
    pid: Count = 0
    cpu_count: Slots = 0
    mechanism: Short = ""
    client_first: ScramText | None = None
    descriptors: bool = False
    job_options: Count = 0
    calls: bool = False
    shortcuts: bool = False


class Challenge(Control):
    """The server's half of the SCRAM exchange."""

    server_first: ScramText


class Proof(Control):
    """The client's proof that it knows the key."""

    client_final: ScramText


class Welcome(Control):
    """Authentication is over; ``server_final`` proves that the server knows the key as well."""

    server_final: ScramText | None = None
    client_id: Count = 0
    open_connections: Count = 0
    version: Short = ""
    nodes: Count = 0
    slots: Count = 0
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 5.0
    descriptors: bool = False
    job_options: Count = 0
    offers: Offers = ()
    calls: bool = False
    lent: bool = False


class Error(Control):
    """The connection is about to be closed, and why.

    Codes: authentication, protocol, version, forbidden, internal.
    """

    code: Short
    message: str


class Submit(Control):
    """Controller -> server: a new job; the payload is its serialized function."""

    has_payload: ClassVar[bool] = True
    job: Count
    function: Digest
    session: Short
    chunksize: Count
    reduces: bool = False
    python: Version | None = None
    name: Short = ""
    quiet: bool = False
    timeout_ms: Count = 0
    speculate: bool = False
    whole: bool = False
    tasks: Count = 0
    priority: Priority = 0
    nodes: Patterns = ()
    slots: TaskSlots = 1
    promised: Promises = ()
    patient: bool = False
    expected_ns: Count = 0


class Job(Control):
    """Server -> node: a job to work on; no payload when the node has that function already."""

    has_payload: ClassVar[bool] = True
    job: Count
    function: Digest
    session: Short
    reduces: bool = False
    quiet: bool = False
    timeout_ms: Count = 0
    priority: Priority = 0
    slots: TaskSlots = 1
    chunksize: Count = 1
    patient: bool = False
    expected_ns: Count = 0


class Demand(Control):
    """Server -> controller: send up to ``packets`` packets cut for this node, with this grant."""

    job: Count
    node: Count
    cpu_count: Slots
    packets: Count
    grant: Count


class Resend(Control):
    """Server -> controller: send the parcel again, cut as it was, for this node.

    It was lost; or that attempt ``beside`` is late and goes on. ``redraw``: it is to come in others.
    """

    job: Count
    parcel: Count
    attempt: Count
    node: Count
    beside: Count = 0
    redraw: bool = False


class Exhausted(Control):
    """Controller -> server: no more parcels will come."""

    job: Count


class Cancel(Control):
    """Controller -> server: nobody waits for this job any more."""

    job: Count


class CancelItem(Control):
    """Controller -> server -> node: this item of a parcel is to fail, unless it is done."""

    job: Count
    parcel: Count
    attempt: Count
    index: Count


class Finished(Control):
    """Server -> controller: every parcel is accounted for."""

    job: Count


class Forget(Control):
    """Server -> node: drop the job, its queued parcels and running work."""

    job: Count


class Failed(Control):
    """Server -> controller: the job, or one of its parcels, failed for a reason of the cluster."""

    job: Count
    code: Short
    message: str
    parcel: Count | None = None


class Output(Control):
    """Node -> server -> controller: whole lines that functions printed, tagged; ``stream`` 1 or 2."""

    has_payload: ClassVar[bool] = True
    job: Count
    stream: Count


Message = Control | Parcel | Results | Call | Answer

_CONTROLS = {cast(str, kind.__struct_config__.tag): kind for kind in Control.__subclasses__()}
_PARSERS = {**PARSERS, **CALL_PARSERS}
_decode = msgspec.json.Decoder(Union[tuple(_CONTROLS.values())]).decode  # noqa: UP007 - built from a tuple

BEGINNINGS = b"{" + b"".join(_PARSERS)
"""What a header line may start with."""

CALL_BEGINNINGS = frozenset({b"C", b"A"})
"""That of calls and answers with a payload that is sent as bytes."""

BEFORE_AUTHENTICATION: dict[Literal["server", "client"], frozenset[type]] = {
    "server": frozenset({Hello, Proof}),
    "client": frozenset({Challenge, Welcome, Error}),
}
"""What each side may receive until the handshake is done."""

_EITHER_WAY: frozenset[type] = frozenset({Ping, Pong, Error})

ALLOWED: dict[tuple[str, str], frozenset[type]] = {
    ("server", "node"): _EITHER_WAY
    | {Results, Answer, Returned, Fetch, FetchBlob, FetchKept, KeptPiece, Output, Drain, Lent},
    ("server", "controller"): _EITHER_WAY
    | {Submit, Parcel, Exhausted, Cancel, CancelItem, Fetched, Blob, FetchKept, DropKept, Status, Kill}
    | {Call, GiveUp},
    ("node", "server"): _EITHER_WAY
    | {Parcel, Job, TakeBack, Abandon, CancelItem, Forget, Fetched, Blob, Exit}
    | {FetchKept, KeptPiece, DropKept, Call, GiveUp, Shortcut},
    ("controller", "server"): _EITHER_WAY
    | {Results, Capacity, Demand, Resend, Finished, Failed, Fetch, FetchBlob, Output, StatusReply, Killed}
    | {KeptPiece, Answer, Shortcut},
}
"""What each side may receive from whom after the handshake: ``(receiver, sender) -> types``."""


def check_allowed(message: Message, allowed: frozenset[type]) -> None:
    """Raise :class:`ProtocolError` unless the message's type is in the table row ``allowed``."""
    if type(message) not in allowed:
        names = ", ".join(sorted(kind.__name__.lower() for kind in allowed))
        name = type(message).__name__.lower()
        article = "an" if name[0] in "aeiou" else "a"
        raise ProtocolError(f"{article} {name} frame is not allowed here; allowed now: {names}")


def parse_header(line: bytes) -> Message:
    """Read a header line.

    Args:
        line: The line without its CRLF.

    Raises:
        ProtocolError: It is not a header of this protocol. The text is one sentence that quotes
            at most 60 bytes of the line, as a Python literal.
    """
    parse = _PARSERS.get(line[:1])
    if parse is not None:
        return parse(line)
    if line[:1] != b"{":
        raise bad_header(f"a header line starts with one of {BEGINNINGS.decode()}, and this does not", line)
    if not line.isascii():
        raise bad_header("a header line holds ASCII characters only, and this does not", line)
    try:
        message = cast(Control, _decode(line))
    except (msgspec.DecodeError, RecursionError) as error:
        # msgspec names the wrong field, and quotes an unknown type in full, which is the peer's text.
        reason = ascii(re.sub(r"^Invalid value '.*'", "Invalid value", str(error), flags=re.DOTALL))[1:121]
        reason = reason.removesuffix("'")
        raise bad_header(f"a control header is not valid: {reason}", line) from None
    if message.size and not message.has_payload:
        raise ProtocolError(f"a {type(message).__name__.lower()} frame has no payload, but size is not 0")
    return message


def encode(message: Message, payload_bytes: int = 0) -> bytes:
    """The header line of a message, CRLF included; sets ``message.size``.

    Args:
        message: What to send.
        payload_bytes: Length of the payload that will follow.

    Raises:
        ValueError: The message would not be accepted by the other side; a mistake of the caller.
    """
    message.size = payload_bytes
    if type(message) is Call or type(message) is Answer:
        header = call_header(message)
    elif isinstance(message, Parcel):
        units = message.units
        if sum([unit[1] for unit in units]) != payload_bytes or not 0 < len(units) <= MAX_UNITS:
            raise ValueError(f"the units of parcel {message.parcel} do not match its payload")
        header = format_parcel(message)
    elif isinstance(message, Results):
        segments = message.segments
        if sum([segment[4] for segment in segments]) != payload_bytes or not 0 < len(segments) <= MAX_UNITS:
            raise ValueError(f"the segments of parcel {message.parcel} do not match their payload")
        header = format_results(message)
    else:
        assert isinstance(message, Control)
        if payload_bytes and not message.has_payload:
            raise ValueError(f"{type(message).__name__} has no payload")
        header = control_line(message)
        if len(header) > MAX_HEADER_BYTES and isinstance(message, Error | Failed):
            # A long text is worth less than a message that arrives; 12 bytes is the longest escape.
            message.message = message.message[: MAX_HEADER_BYTES // 16]
            header = control_line(message)
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"the header of {type(message).__name__} would be {len(header)} bytes long")
    return header
