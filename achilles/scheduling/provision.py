"""Who runs functional calls, and for how long it is held: from the outermost scheduled call to its end.

Each thread holds a provider once: scheduled functions that are called within it share what it gave.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import get_ident

from .calls import Calls

__all__ = ["Provider", "Provision", "provision"]

#: Gives what runs functional calls, as a context.
Provider = Callable[[], AbstractContextManager[Calls]]

_held: dict[tuple[int, Provider], Provision] = {}
_lock = threading.Lock()


class Provision:
    """What a provider gave, held by so many activations.

    Attributes:
        calls: What runs the calls.
    """

    def __init__(self, key: tuple[int, Provider]) -> None:
        self._key = key
        self._context = key[1]()
        self.calls = self._context.__enter__()
        self._holders = 1

    def hold(self) -> bool:
        """One activation more; False when it was given up meanwhile."""
        if not self._holders:
            return False
        self._holders += 1
        return True

    def leave(self) -> None:
        """One activation less; with the last one the context is left, in whichever thread that is."""
        with _lock:
            self._holders -= 1
            over = not self._holders
            if over and _held.get(self._key) is self:
                del _held[self._key]
        if over:
            self._context.__exit__(None, None, None)


def provision(provider: Provider) -> Provision:
    """What this thread has of a provider, entered if it has nothing of it.

    Raises:
        BaseException: What entering raised.
    """
    key = get_ident(), provider
    with _lock:
        held = _held.get(key)
        if held is not None and held.hold():
            return held
    made = Provision(key)
    with _lock:
        _held[key] = made
    return made
