"""For asyncio programs: `achilles.Pool` with coroutines and asynchronous iterators.

::

    from achilles import aio

    async with aio.Pool() as pool:
        total = await pool.map(func, arguments)
        async for result in pool.imap_unordered(func, arguments):
            ...

The functions of this module do the same without a pool, on workers that all calls of the process share, or on
a server's nodes. Rules:

1. The loop is never held up: workers are started, servers connected, arguments drawn and serialized and
   results unpickled in other threads. Asynchronous iterables are drawn in the loop, others in a thread.
2. Cancelling the task that awaits, or leaving an iteration early, cancels the job.
3. Callbacks (``error_callback``, ``progress``) are called in the loop's thread, by the task that awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from .html_table import html_table
from .pool.async_results import Results, collect, fire, in_thread, iterate
from .pool.front import Front, Waiting, one_call, starred, start_alone
from .pool.pool import CLOSE, TERMINATE
from .pool.posting import Post, beside
from .pool.reading import outside_generators
from .pool.results import tell
from .pool.wrapping import run_call

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Pool", "Results", "apply", "imap", "imap_unordered", "map", "starmap"]

Arguments = Iterable[Any] | AsyncIterable[Any]

# Where a call without a pool runs, with the defaults of `Pool`.
_WHERE = {
    "address": None,
    "host": None,
    "port": None,
    "username": None,
    "secret_key": None,
    "memory_budget": None,
    "startup_timeout": 60.0,
}


async def map(
    func: Callable[[Any], Any], iterable: Arguments, chunksize: int | None = None, **options: Any
) -> list[Any]:
    """Apply ``func`` to every argument and return the results in order.

    Args:
        func: The function of one argument.
        iterable: The arguments; also an asynchronous iterable or generator function.
        chunksize: Arguments that a worker gets together. None: chosen by what is measured.
        **options: Where it runs (``address``, ``host``, ``port``, ``username``, ``secret_key``,
            ``memory_budget``, ``startup_timeout``), as of `achilles.Pool`; and how, see
            `achilles.pool.options.Options`.

    Raises:
        BaseException: As `achilles.Pool.map`.
    """
    where, rest = _split(options)
    return await collect(lambda asked: start_alone(where, asked), func, iterable, chunksize, rest)


async def starmap(
    func: Callable[..., Any], iterable: Arguments, chunksize: int | None = None, **options: Any
) -> list[Any]:
    """As `map`, for a function of several arguments: each element holds them."""
    return await map(starred(func), iterable, chunksize, **options)


async def apply(
    func: Callable[..., Any],
    args: Iterable[Any] = (),
    kwds: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Call ``func(*args, **kwds)`` in a worker and return its result.

    Each is a job of its own. For many of them, a `Pool` is much faster.
    """
    where, rest = _split(options)
    call, _ = one_call(func, args, kwds, rest)
    (result,) = await collect(lambda asked: start_alone(where, asked), run_call, [call], 1, rest)
    return result


def imap(
    func: Callable[[Any], Any],
    iterable: Arguments,
    chunksize: int | None = 1,
    buffersize: int | None = None,
    **options: Any,
) -> Results:
    """Apply ``func`` to every argument; an asynchronous iterator over the results in order, as they are done.

    Starts at once. Arguments are drawn as far ahead as workers and reader keep up with.

    Args:
        func: The function of one argument.
        iterable: The arguments; also an asynchronous iterable or generator function, which may be endless.
        chunksize: Arguments that a worker gets together.
        buffersize: Chunks that may be drawn whose results were not taken.
        **options: As of `map`.

    Raises:
        RuntimeError: No loop is running in this thread.
    """
    where, rest = _split(options)
    start = lambda asked: start_alone(where, asked)  # noqa: E731 - as in the other calls
    return iterate(start, func, iterable, chunksize, buffersize, rest, ordered=True)


def imap_unordered(
    func: Callable[[Any], Any],
    iterable: Arguments,
    chunksize: int | None = 1,
    buffersize: int | None = None,
    **options: Any,
) -> Results:
    """As `imap`, with results as they come."""
    where, rest = _split(options)
    start = lambda asked: start_alone(where, asked)  # noqa: E731 - as in the other calls
    return iterate(start, func, iterable, chunksize, buffersize, rest, ordered=False)


class Pool:
    """Worker processes to run functions on: `achilles.Pool` for asyncio.

    Its workers start with ``async with`` or the first call. Leaving ``async with``, normally or by an
    exception, ends them at once, as with the ordinary pool, and waits until they are gone; `close` and `join`
    before that to have everything done first.

    Args: as of `achilles.Pool`.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        address: str | None = None,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        secret_key: str | None = None,
        memory_budget: int | str | None = None,
        startup_timeout: float | None = 60.0,
    ) -> None:
        where = {
            "address": address,
            "host": host,
            "port": port,
            "username": username,
            "secret_key": secret_key,
            "memory_budget": memory_budget,
            "startup_timeout": startup_timeout,
        }
        self._front = Front(processes, initializer, initargs, maxtasksperchild, where)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._post: Post | None = None  # of the loop that made the last call

    def __repr__(self) -> str:
        return (
            f"<{type(self).__module__}.{type(self).__name__} {self._front.place} state={self._front.state}>"
        )

    def _repr_html_(self) -> str:
        return html_table(self, self._front.facts)

    # -- calls

    async def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Call ``func(*args, **kwds)`` in a worker and return its result.

        Cancelled before it was sent, the call is not made. If it runs, its worker is stopped.
        """
        call, made = one_call(func, args, kwds, options)
        loop = asyncio.get_running_loop()
        if self._post is None or self._loop is not loop:
            self._loop, self._post = loop, Post(loop.call_soon_threadsafe)
        future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
        waiting = Waiting(self._post, lambda value, error: fire(future, (value, error)))
        self._front.expect()
        self._front.call(call, made, waiting)
        try:
            value, error = await future
        except BaseException:
            self._front.give_up(waiting)
            raise
        if error is None:
            return value
        tell(made.error_callback, error)
        try:
            raise outside_generators(error)
        finally:
            error = None

    async def map(
        self, func: Callable[[Any], Any], iterable: Arguments, chunksize: int | None = None, **options: Any
    ) -> list[Any]:
        """Apply ``func`` to every argument and return the results in order. See `map` of this module."""
        return await collect(self._front.start, func, iterable, chunksize, options, front=self._front)

    async def starmap(
        self, func: Callable[..., Any], iterable: Arguments, chunksize: int | None = None, **options: Any
    ) -> list[Any]:
        """As `map`, for a function of several arguments: each element holds them."""
        return await self.map(starred(func), iterable, chunksize, **options)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Arguments,
        chunksize: int | None = 1,
        buffersize: int | None = None,
        **options: Any,
    ) -> Results:
        """An asynchronous iterator over the results in order, as they are done. See `imap` of this module."""
        return self._iterate(func, iterable, chunksize, buffersize, options, ordered=True)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Arguments,
        chunksize: int | None = 1,
        buffersize: int | None = None,
        **options: Any,
    ) -> Results:
        """As `imap`, with results as they come."""
        return self._iterate(func, iterable, chunksize, buffersize, options, ordered=False)

    def _iterate(
        self,
        func: Callable[[Any], Any],
        iterable: Arguments,
        chunksize: int | None,
        buffersize: int | None,
        options: dict[str, Any],
        *,
        ordered: bool,
    ) -> Results:
        start, front = self._front.start, self._front
        return iterate(start, func, iterable, chunksize, buffersize, options, ordered=ordered, front=front)

    # -- the pool's own life

    async def close(self) -> None:
        """Take no more calls; what was asked for is done, then the workers leave. Does not wait for that."""
        self._front.leave(CLOSE)
        await in_thread(self._front.close)

    async def terminate(self) -> None:
        """End the workers at once, and wait until they are gone; who waits for results is told."""
        self._front.leave(TERMINATE)
        await in_thread(self._front.terminate)

    async def join(self) -> None:
        """Wait until all is done and the workers are gone. What nobody has read yet is kept in memory.

        Raises:
            ValueError: The pool was neither closed nor terminated.
        """
        await in_thread(self._front.join)

    async def __aenter__(self) -> Self:
        try:
            await in_thread(self._front.begin)
        except BaseException:
            # Its workers may be about to start.
            self._front.leave(TERMINATE)
            post = Post(asyncio.get_running_loop().call_soon_threadsafe)
            beside(post, self._front.terminate, lambda value, failed: None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.terminate()


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where a call runs, and how."""
    where = {name: options.pop(name, default) for name, default in _WHERE.items()}
    return where, options
