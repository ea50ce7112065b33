"""When a worker loads what its work needs, which imports modules: no moment for work of their own.

A module that calls a pool where it is imported, and not below ``if __name__ == "__main__":``, would have
workers import it, which call the pool, whose workers import it, and so on.
"""

from __future__ import annotations

from _thread import get_ident

__all__ = ["begin", "check", "end"]

_thread = 0


def begin() -> None:
    """This thread loads something."""
    global _thread
    _thread = get_ident()


def end() -> bool:
    """It does no more; returns whether it did."""
    global _thread
    was, _thread = _thread, 0
    return was != 0


def check() -> None:
    """Refuse to start work.

    Raises:
        RuntimeError: This thread is a worker's, and loads something.
    """
    if _thread and _thread == get_ident():
        raise RuntimeError(
            "work was started while a worker imported a module for its own work, which would never end: "
            "put what the module does, beyond defining things, into a function, or below "
            '`if __name__ == "__main__":`'
        )
