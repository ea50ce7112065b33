"""Workers on this machine, kept from one ``Parallel`` to the next.

Starting workers costs more than many a ``Parallel`` has to do, and programs make hundreds of them. So the
workers of the last one stay until this process ends, or until another number of them is asked for.
"""

from __future__ import annotations

import os
import threading

from ..config import Settings
from .place import Place

__all__ = ["borrow", "close_kept", "give_back"]

_lock = threading.Lock()
# By their number of workers: the place, and how many use it now. The last one asked for is the last here.
_kept: dict[int, tuple[Place, int]] = {}
# In a forked child, what the parent had: not to be ended from here, by the garbage collector either.
_of_parent: list[tuple[Place, int]] = []


def borrow(workers: int, settings: Settings) -> Place:
    """A place on this machine's cores with so many workers."""
    with _lock:
        place, users = _kept.pop(workers, (None, 0))
        if place is None:
            place = Place(workers, settings)
        _kept[workers] = place, users + 1
        _close(_take_unused(except_for=workers))
    return place


def give_back(workers: int) -> None:
    """One user less. The workers stay for the next one, unless others were asked for meanwhile."""
    with _lock:
        if workers not in _kept:  # it was borrowed before this process was forked
            return
        place, users = _kept[workers]
        _kept[workers] = place, users - 1
        _close(_take_unused(except_for=next(reversed(_kept))))


def close_kept() -> None:
    """End the workers that nobody uses."""
    with _lock:
        _close(_take_unused())


def _take_unused(except_for: int | None = None) -> list[Place]:
    unused = [workers for workers, (_, users) in _kept.items() if not users and workers != except_for]
    return [_kept.pop(workers)[0] for workers in unused]


def _close(places: list[Place]) -> None:
    for place in places:
        place.close(at_once=True)  # nothing runs there


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _of_parent.extend(_kept.values())
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
