"""Arguments from an asynchronous iterable, for the thread that draws them.

It runs in its loop, as a task, and is drawn when the thread asks: a few ahead, and nothing more until these
are used up. So workers that have enough, or a reader that is slow, stop it, and it may be endless.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, Iterator
from typing import Any

__all__ = ["AsyncArguments"]

# How many are drawn when one is asked for, which spares as many changes of thread.
AHEAD = 32


class AsyncArguments(Iterator[Any]):
    """The arguments as an ordinary iterator, to be used in another thread than the loop's.

    Args:
        source: The asynchronous iterable.
        loop: The running loop; this is made in its thread.
        ahead: How many may be drawn before they are asked for.
    """

    def __init__(
        self, source: AsyncIterable[Any], loop: asyncio.AbstractEventLoop, ahead: int = AHEAD
    ) -> None:
        self._source: AsyncIterable[Any] | None = source
        self._loop = loop
        self._ahead = ahead
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._fresh: list[Any] = []  # drawn, and touched in the loop's thread alone until handed over
        self._ended = False
        self._error: BaseException | None = None
        self._asked = asyncio.Event()  # touched in the loop's thread alone
        self._begun = False
        self._task = loop.create_task(self._draw(), name="achilles-arguments")
        self._task.add_done_callback(self._drawn)

    def __next__(self) -> Any:
        with self._changed:
            if not self._items and not self._ended:
                try:
                    self._loop.call_soon_threadsafe(self._asked.set)
                except RuntimeError:
                    self._ended = True  # the loop was closed
                while not self._items and not self._ended:
                    self._changed.wait()
            if self._items:
                return self._items.popleft()
            error, self._error = self._error, None
            if error is not None:
                raise error
            raise StopIteration

    async def _draw(self) -> None:
        source, self._source = self._source, None
        iterator: Any = None
        try:
            await self._room()
            iterator = aiter(source)  # type: ignore[arg-type]
            source = None
            async for item in iterator:
                if not self._fresh:
                    # By when the iterable waits for something, or enough were drawn.
                    self._loop.call_soon(self._hand_over)
                self._fresh.append(item)
                del item
                await self._room()
        except Exception as raised:  # noqa: BLE001 - the caller's code: it is raised where results are read
            self._error = raised
        finally:
            # Iterators of this kind need not have it; generators do.
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await aclose()

    async def _room(self) -> None:
        """Wait until more may be drawn."""
        if not self._begun:
            await self._asked.wait()
            self._begun = True
        while len(self._items) + len(self._fresh) >= self._ahead:
            self._asked.clear()
            await self._asked.wait()

    def _hand_over(self) -> None:
        fresh, self._fresh = self._fresh, []
        with self._changed:
            self._items += fresh
            self._changed.notify()

    def _drawn(self, task: asyncio.Task[None]) -> None:
        """The task is over, perhaps before it began."""
        self._hand_over()
        with self._changed:
            if task.cancelled() and not self._ended:
                self._error = RuntimeError("the task that draws the asynchronous arguments was cancelled")
            self._ended = True
            self._changed.notify()

    def stop(self) -> None:
        """Draw no more, from any thread. The thread that draws goes on as at the end."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if not self._task.done():
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:
                pass  # the loop was closed

    async def aclose(self) -> None:
        """Draw no more, and wait until what the iterable does at its end is done."""
        self.stop()
        await asyncio.wait([self._task])
