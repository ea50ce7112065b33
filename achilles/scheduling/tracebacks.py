"""Tracebacks without the frames that stand between the user's own."""

from __future__ import annotations

import os
from types import TracebackType
from typing import NoReturn

__all__ = ["raise_for_call", "trimmed"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_OURS = {os.path.join(_HERE, name) for name in ("activation.py", "calls.py", "tracebacks.py")}


def raise_for_call(error: BaseException) -> NoReturn:
    """Raise what a functional function raised elsewhere, as if the call itself did."""
    raise error.with_traceback(None)


def trimmed(error: BaseException) -> None:
    """Take our frames out of an exception's traceback, in place.

    Those between the user's frames go. Those at the end go if `raise_for_call` is the last; else they stay,
    and tell of a mistake of ours.
    """
    entry: TracebackType | None = error.__traceback__
    while entry is not None:
        last, after = None, entry.tb_next
        while after is not None and after.tb_frame.f_code.co_filename in _OURS:
            last, after = after, after.tb_next
        if last is not None:
            raised_here = last.tb_frame.f_code is raise_for_call.__code__
            if after is not None or raised_here:
                entry.tb_next = after
        entry = after
