"""What the fields of control messages may hold; anything else is refused with the header."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from achilles.lineReceiver.hot_frames import MAX_INT

__all__ = ["MAX_SLOTS", "Count", "Digest", "Role", "ScramText", "Short", "Slots", "Version"]

MAX_SLOTS = 4096
"""Most slots that one node may offer; a packet grows with them."""

Role = Literal["node", "controller"]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
# What is shown to people holds no control characters: they could rewrite a log or a terminal.
Short = Annotated[
    str, msgspec.Meta(max_length=255, pattern=r"\A[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*\Z")
]
Slots = Annotated[int, msgspec.Meta(ge=0, le=MAX_SLOTS)]
ScramText = Annotated[str, msgspec.Meta(max_length=2048)]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Version = tuple[Annotated[int, msgspec.Meta(ge=0, le=999)], Annotated[int, msgspec.Meta(ge=0, le=999)]]
