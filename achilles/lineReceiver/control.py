"""What all messages with a JSON header have in common, and how that header is written."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import msgspec

from achilles.lineReceiver.fields import Count

__all__ = ["Control", "control_line"]

_json = msgspec.json.Encoder()


class Control(
    msgspec.Struct,
    kw_only=True,
    omit_defaults=True,
    tag_field="type",
    tag=lambda name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(),
):
    """Base of all messages with a JSON header. ``size`` is filled in by :func:`encode`."""

    has_payload: ClassVar[bool] = False
    by_descriptor: ClassVar[bool] = False
    shared: ClassVar[None] = None
    size: Count = 0


def control_line(message: Control) -> bytes:
    """The header line of a message, CRLF included."""
    try:
        line = _json.encode(message)
        if line.isascii():
            return line + b"\r\n"
    except UnicodeEncodeError:
        pass  # file names and error texts may hold lone surrogates, which JSON cannot
    fields: Any = msgspec.to_builtins(message)
    text = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace").decode()
    return json.dumps(json.loads(text), separators=(",", ":")).encode("ascii") + b"\r\n"
