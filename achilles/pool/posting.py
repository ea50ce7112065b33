"""Between a program's loop and the threads that wait for it.

Knows: how to have something called in the loop's thread, of any library. Rules:

1. The loop's thread never waits for another one; a lock that it wants is held for a few instructions only.
2. What threads send is called in the order in which it was sent, several at a time, and the loop is woken
   once for all of them.
3. A loop that is gone hears nothing more, and nobody fails for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["Post", "Sender", "beside"]


# After so many the loop may do something else.
MOST_AT_ONCE = 256


class Post:
    """Has functions called in the loop's thread.

    Args:
        call_in_loop: The loop's own way to be called from any thread.
    """

    def __init__(self, call_in_loop: Callable[[Callable[[], None]], Any]) -> None:
        self._call_in_loop = call_in_loop
        self._calls: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._comes = False  # whether the loop was told

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have it called with these arguments."""
        self._calls.append((function, arguments))
        if not self._comes:
            self._comes = True
            try:
                self._call_in_loop(self._deliver)
            except RuntimeError:
                self._calls.clear()  # the loop was closed

    def _deliver(self) -> None:
        self._comes = False
        calls = self._calls
        try:
            for _ in range(MOST_AT_ONCE):
                try:
                    function, arguments = calls.popleft()
                except IndexError:
                    return
                function(*arguments)
        finally:
            if calls and not self._comes:
                self._comes = True
                self._call_in_loop(self._deliver)


def beside(post: Post, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None]) -> None:
    """Have something done in a thread of its own.

    Args:
        post: Leads to the loop.
        work: What may take long.
        done: Called in the loop's thread with what it returned and what it raised.
    """

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except BaseException as raised:  # noqa: BLE001 - whatever it is, who waits is told
            error = raised
        post.send(done, value, error)

    threading.Thread(target=run, name="achilles-beside", daemon=True).start()


class Sender:
    """Does one thing after the other, in a thread that is there while there is anything to do."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._runs = False

    def run(self, work: Callable[[], None]) -> None:
        """Have it done; it raises nothing."""
        with self._lock:
            self._waiting.append(work)
            if self._runs:
                return
            self._runs = True
        threading.Thread(target=self._serve, name="achilles-sender", daemon=True).start()

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._runs = False
                    return
                work = self._waiting.popleft()
            work()
            del work
