"""What `achilles.aio` is made of: jobs that a coroutine starts and reads."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

from ..engines.interrupts import finalizing
from ..html_table import html_table
from .async_arguments import AHEAD, AsyncArguments
from .front import Asked, Front, chosen
from .options import Options
from .posting import Post, beside
from .reading import Inbox, Reading, collected, failed_value
from .running import Held

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Results", "collect", "fire", "in_thread", "iterate"]


class Results(AsyncIterator[Any]):
    """Single results of a job, in order or as they come.

    When an item failed, its turn raises its exception, and the others can still be read. Leave it early,
    `aclose` it or drop it to cancel what is not done. Tasks may share it.
    """

    def __init__(
        self,
        inbox: Inbox,
        reading: Reading,
        source: AsyncArguments | None,
        options: Options,
        *,
        keep: object = None,
    ) -> None:
        self._kept = keep  # the pool, which would end its workers
        self._inbox = inbox
        self._reading = reading
        self._source = source
        self._options = options
        self._open = True
        self._values: list[Any] = []  # in reverse
        self._failures: dict[int, BaseException] = {}  # by place from the end of that list
        self._value_tasks = 1
        self._untaken_tasks = 0

    def _repr_html_(self) -> str:
        return html_table(self, lambda: {"state": "open" if self._open else "over"})

    def __aiter__(self) -> Results:
        return self

    async def __anext__(self) -> Any:
        """The next result.

        Raises:
            BaseException: What the function raised for this item, or the iterable at its end.
        """
        while True:
            while not self._values:
                if not self._open:
                    raise StopAsyncIteration
                await self._next_part()
            value = self._values.pop()
            reading = self._reading
            if reading.counts:
                reading.took()
            if reading.bar is not None:
                tasks = min(self._value_tasks, self._untaken_tasks)
                self._untaken_tasks -= tasks
                reading.bar.update(tasks)
            if not self._failures:
                return value
            failure = self._failures.pop(len(self._values), None)
            if failure is None:
                return value
            returned, value = failed_value(failure, self._options)
            if returned:
                return value

    async def _next_part(self) -> None:
        part = None
        try:
            part = await self._inbox.next()
        finally:
            if part is None and self._inbox.ended:
                self._end()
        if part is None:
            return
        if not self._open:
            return  # closed by another task
        values = part.values
        last = len(values) - 1
        values.reverse()
        # Another task may have put some here in the meantime.
        failures = {len(values) + place: failure for place, failure in self._failures.items()}
        failures.update({last - place: failure for place, failure in part.failures.items()})
        self._failures = failures
        self._values[:0] = values
        self._value_tasks = part.value_tasks
        self._untaken_tasks += part.tasks
        if not self._reading.counts:
            self._reading.took()
        # A loop body that never waits would be the only thing to run while results are there.
        await asyncio.sleep(0)

    def _end(self) -> None:
        self._open = False
        if self._source is not None:
            self._source.stop()
        if self._reading.bar is not None:
            self._reading.bar.close()

    async def aclose(self) -> None:
        """Cancel what is not done, and wait until it is cancelled. Harmless when repeated."""
        is_open, self._open = self._open, False
        self._values, self._failures = [], {}
        if is_open:
            self._end()
            await _ended(self._inbox, self._reading, self._source)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # At the end of the interpreter this module's names may be gone.
    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if getattr(self, "_open", False) and not is_finalizing():
            with finalizing():
                self._end()
                self._reading.cancel()


def _begin(
    start: Callable[[Asked], Held],
    asked: Asked,
    *,
    is_list: bool,
    front: Front | None,
) -> tuple[Inbox, Reading, AsyncArguments | None]:
    """Start a job in a thread."""
    loop = asyncio.get_running_loop()
    func, arguments, chunksize, options, ordered, most_ahead = asked
    if front is not None:
        front.expect()
    source = None
    if inspect.isasyncgenfunction(arguments):
        arguments = arguments()
    if hasattr(type(arguments), "__aiter__"):
        ahead = AHEAD if most_ahead is None else 1
        source = arguments = AsyncArguments(arguments, loop, ahead)
    asked = (func, arguments, chunksize, options, ordered, most_ahead)
    inbox = Inbox(loop.create_future, fire)
    post = Post(loop.call_soon_threadsafe)
    reading = Reading(lambda: start(asked), post, inbox, options, arguments, is_list=is_list)
    return inbox, reading, source


async def collect(
    start: Callable[[Asked], Held],
    func: Callable[[Any], Any],
    arguments: Any,
    chunksize: int | None,
    options: dict[str, Any],
    *,
    front: Front | None = None,
) -> list[Any]:
    made, _ = chosen(func, chunksize, options)
    asked = (func, arguments, chunksize, made, True, None)
    inbox, reading, source = _begin(start, asked, is_list=True, front=front)
    del arguments, asked
    try:
        return await collected(inbox, reading, made)
    finally:
        if reading.bar is not None:
            reading.bar.close()
        await _ended(inbox, reading, source)


def iterate(
    start: Callable[[Asked], Held],
    func: Callable[[Any], Any],
    arguments: Any,
    chunksize: int | None,
    buffersize: int | None,
    options: dict[str, Any],
    *,
    ordered: bool,
    front: Front | None = None,
) -> Results:
    made, most_ahead = chosen(func, chunksize, options, buffersize)
    asked = (func, arguments, chunksize, made, ordered, most_ahead)
    return Results(*_begin(start, asked, is_list=False, front=front), made, keep=front)


async def _ended(inbox: Inbox, reading: Reading, source: AsyncArguments | None) -> None:
    """Cancel a job that is not over, and wait until that is done."""
    if not inbox.ended:
        closed = asyncio.get_running_loop().create_future()
        reading.cancel(lambda: fire(closed))
        if source is not None:
            source.stop()
        await closed
    if source is not None:
        await source.aclose()


async def in_thread(work: Callable[[], Any]) -> Any:
    """Do something in a thread. It is done even if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    beside(Post(loop.call_soon_threadsafe), work, lambda value, error: fire(future, (value, error)))
    value, error = await future
    if error is not None:
        raise error
    return value


def fire(future: asyncio.Future[Any], value: Any = None) -> None:
    if not future.done():
        future.set_result(value)
