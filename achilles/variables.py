"""Reading several environment variables in the time of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["given_variables"]

# Under which name the interpreter keeps a variable.
_encode: Any = getattr(os.environ, "encodekey", str)
_encoded: dict[str, Any] = {}


def given_variables(names: Iterable[str]) -> dict[str, str]:
    """Those of these variables that are set, and not empty.

    Every call of ``map`` asks for a dozen, nearly none of which is set; to be told so by an exception, as
    ``os.environ.get`` is, takes longer than all the rest. So it is looked up first where ``os.environ`` keeps
    them, if that is where it was in every version so far.
    """
    kept: Mapping[Any, Any] | None = getattr(os.environ, "_data", None)
    if kept is None:
        return {name: value for name in names if (value := os.environ.get(name))}
    return {name: value for name in names if _name(name) in kept and (value := os.environ.get(name))}


def _name(name: str) -> Any:
    encoded = _encoded.get(name)
    if encoded is None:
        encoded = _encoded[name] = _encode(name)
    return encoded
