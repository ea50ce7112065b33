"""Threads that wait for calls which return at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .results import AsyncResult
from .waiting import begin

__all__ = ["Background"]

# Calls that are read at once; the others are under way too, and wait for their turn to be read.
MOST_THREADS = 16

_Task = tuple[AsyncResult, Callable[[], Any]]


class Background:
    """Runs what blocks, a few at a time, and settles the results."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Task] = deque()
        self._threads = 0

    def run(self, result: AsyncResult, work: Callable[[], Any]) -> None:
        """Have ``work`` done, and the result settled with what it returns or raises."""
        with self._changed:
            self._waiting.append((result, work))
            if self._threads >= MOST_THREADS:
                return
            self._threads += 1
        threading.Thread(target=self._serve, name="achilles-pool-map", daemon=True).start()

    def join(self) -> None:
        """Wait until nothing is left."""
        with self._changed:
            while self._threads:
                # Ctrl-C is seen between two waits.
                self._changed.wait(0.25)

    def settles(self, promise: object) -> bool:
        """Other threads are there for it."""
        return False

    def _serve(self) -> None:
        begin(self)
        while True:
            with self._changed:
                if not self._waiting:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                result, work = self._waiting.popleft()
            _settle(result, work)
            del result, work


def _settle(result: AsyncResult, work: Callable[[], Any]) -> None:
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, who waits is told
        result.settle(None, error)
    else:
        result.settle(value, None)
