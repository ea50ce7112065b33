"""What the fields of control messages may hold; anything else is refused with the header."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from achilles.core.promised import MAX_OFFERS, MAX_PROMISED
from achilles.limits import MAX_PATTERN_CHARACTERS, MAX_PATTERNS, MAX_PRIORITY, MAX_SLOTS
from achilles.lineReceiver.hot_frames import MAX_INT

__all__ = [
    "JOB_OPTIONS",
    "KEEPS_OPTION",
    "MAX_SLOTS",
    "NEEDS_OPTION",
    "Count",
    "Digest",
    "Offers",
    "Patterns",
    "Priority",
    "Promises",
    "Role",
    "ScramText",
    "Short",
    "Slots",
    "TaskSlots",
    "Token",
    "Version",
]

NEEDS_OPTION, KEEPS_OPTION = 1, 2
JOB_OPTIONS = KEEPS_OPTION
"""What this software knows of jobs beside the first things: 1 is `priority`, `nodes`, `slots`; 2 besides that
results may stay at nodes, and a node's number in `nodes`."""

Role = Literal["node", "controller"]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
# What is shown to people holds no control characters: they could rewrite a log or a terminal.
Short = Annotated[
    str, msgspec.Meta(max_length=255, pattern=r"\A[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*\Z")
]
Slots = Annotated[int, msgspec.Meta(ge=0, le=MAX_SLOTS)]
ScramText = Annotated[str, msgspec.Meta(max_length=2048)]
TaskSlots = Annotated[int, msgspec.Meta(ge=1, le=MAX_SLOTS)]
Priority = Annotated[int, msgspec.Meta(ge=-MAX_PRIORITY, le=MAX_PRIORITY)]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATTERN_CHARACTERS, pattern=r"\A[ -~]+\Z")]
Patterns = Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=MAX_PATTERNS)]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Token = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# Number and slots of nodes, and numbers alone.
Offers = Annotated[tuple[tuple[Count, Slots], ...], msgspec.Meta(max_length=MAX_OFFERS)]
Promises = Annotated[tuple[Count, ...], msgspec.Meta(max_length=MAX_PROMISED)]
Version = tuple[Annotated[int, msgspec.Meta(ge=0, le=999)], Annotated[int, msgspec.Meta(ge=0, le=999)]]
