"""Which exceptions come from an operation that is done ahead, and which from a signal that came meanwhile."""

from __future__ import annotations

__all__ = ["is_from_outside"]

# Where exceptions of operations are raised; what is written in C leaves no frame of its own.
_OWN = ("achilles.scheduling.foresight.", "numpy.")


def is_from_outside(error: Exception) -> bool:
    """Whether an exception was raised by a signal's handler, so that the program must see it.

    Python runs such a handler between any two steps of the main thread, which is here while the real run
    waits: `signal.alarm` with a handler that raises is a common way to end what takes too long.

    Args:
        error: What was caught around the walk's operations.
    """
    entry = error.__traceback__
    if entry is None:
        return False
    while entry.tb_next is not None:
        entry = entry.tb_next
    name = str(entry.tb_frame.f_globals.get("__name__", ""))
    return not (name + ".").startswith(_OWN)
