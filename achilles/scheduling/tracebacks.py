"""Tracebacks without the frames that stand between the user's own."""

from __future__ import annotations

import os
from types import TracebackType

__all__ = ["trimmed"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_OURS = {os.path.join(_HERE, name) for name in ("activation.py", "calls.py", "pool_calls.py")}


def trimmed(error: BaseException | None, raised: BaseException | None) -> None:
    """Take our frames out of an exception's traceback, in place.

    Args:
        error: An exception that passes through a scheduled function.
        raised: What a functional call raised last: of that all our frames go. Of others those between the
            user's go, and those at the end stay, which tell of mistakes of ours.
    """
    if error is None or error.__traceback__ is None:
        return
    entry: TracebackType | None = error.__traceback__
    while entry is not None:
        after = entry.tb_next
        while after is not None and after.tb_frame.f_code.co_filename in _OURS:
            after = after.tb_next
        if after is not None or error is raised:
            entry.tb_next = after
        entry = after
