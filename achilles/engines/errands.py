"""What a job wants of its engine, done in order and by one thread at a time, with no lock held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .changes import Changes

__all__ = ["Errands"]


class Errands:
    """Calls to be made once the job's lock is free.

    Args:
        changed: The job's lock.
    """

    def __init__(self, changed: Changes) -> None:
        self._changed = changed
        self._waiting: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._running = False

    def add(self, call: Callable[..., None], *arguments: Any) -> None:
        """One more; the lock is held."""
        self._waiting.append((call, arguments))

    def clear(self) -> None:
        """Nobody is there to hear them; the lock is held."""
        self._waiting.clear()

    def run(self) -> None:
        """Make the calls. A thread that finds another one at it leaves its wishes to that one."""
        if not self._waiting:
            return  # what this thread has added was seen to by another one
        with self._changed.lock:
            if self._running:
                return
            self._running = True
        while True:
            with self._changed.lock:
                if not self._waiting:
                    self._running = False
                    return
                call, arguments = self._waiting.popleft()
            try:
                call(*arguments)
            except BaseException:
                with self._changed.lock:
                    self._running = False
                raise
