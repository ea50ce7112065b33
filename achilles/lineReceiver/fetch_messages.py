"""Messages about what workers fetch: modules and blobs from the controller, kept values from other nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from achilles.limits import PIECE_BYTES
from achilles.lineReceiver.control import Control
from achilles.lineReceiver.fields import Count, Digest, Short, Token

__all__ = [
    "MAX_PIECE_BYTES",
    "Blob",
    "DropKept",
    "Fetch",
    "FetchBlob",
    "FetchKept",
    "Fetched",
    "KeptPiece",
]

MAX_PIECE_BYTES = PIECE_BYTES
"""Largest payload of a `Blob`."""


class Fetch(Control):
    """Node -> server -> controller: a worker needs this module of the user's."""

    job: Count
    request: Count
    module: Short


class Fetched(Control):
    """The answer to :class:`Fetch`; the payload is the module's source."""

    has_payload: ClassVar[bool] = True
    job: Count
    request: Count
    found: bool
    is_package: bool = False
    origin: str = ""
    sha256: Digest = ""
    reason: str = ""
    is_extension: bool = False


class FetchBlob(Control):
    """Node -> server -> controller: a worker needs these bytes of a blob.

    With ``descriptor`` the whole of it may come in shared memory, which the node asks for at its start.
    """

    job: Count
    request: Count
    sha256: Digest
    total: Count
    start: Count
    most: Annotated[int, msgspec.Meta(ge=1, le=MAX_PIECE_BYTES)]
    descriptor: bool = False


class Blob(Control):
    """The answer to :class:`FetchBlob`; the payload is the bytes from ``start`` on.

    With ``descriptor`` there is no payload, and the whole comes by descriptor.
    """

    has_payload: ClassVar[bool] = True
    job: Count
    request: Count
    found: bool
    total: Count = 0
    start: Count = 0
    reason: Short = ""
    descriptor: bool = False


class FetchKept(Control):
    """Node or controller -> server -> node ``holder``: these bytes of a value that is kept there are needed.

    The server says whose ``session`` it is, and sends no number of a job.
    """

    job: Count
    request: Count
    name: Token
    holder: Count
    total: Count
    start: Count
    most: Annotated[int, msgspec.Meta(ge=1, le=MAX_PIECE_BYTES)]
    descriptor: bool = False
    session: Short = ""


class KeptPiece(Control):
    """The answer to :class:`FetchKept`; as :class:`Blob`."""

    has_payload: ClassVar[bool] = True
    job: Count
    request: Count
    found: bool
    total: Count = 0
    start: Count = 0
    reason: Short = ""
    descriptor: bool = False


class DropKept(Control):
    """Controller -> server -> nodes that have it: a kept value is not needed any more.

    A controller says for which job and which node; the server, whose session it is.
    """

    name: Token
    job: Count = 0
    holder: Count = 0
    session: Short = ""
