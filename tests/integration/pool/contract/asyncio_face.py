"""`achilles.aio.Pool`, in a loop that runs in a thread of its own."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, ClassVar

from achilles import aio
from tests.integration.pool.contract.faces import PATIENCE_S, Call, Face

__all__ = ["AsyncioFace"]

#: What was returned, or None; and what was raised.
Outcome = tuple[Any, BaseException | None]


async def _outcome(work: Coroutine[Any, Any, Any]) -> Outcome:
    # SystemExit and KeyboardInterrupt would end the loop, of which there is one for all tests here.
    try:
        return await work, None
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        return None, error


def _value(outcome: Outcome) -> Any:
    value, error = outcome
    if error is None:
        return value
    try:
        raise error
    finally:
        del error, outcome  # which would keep each other, and what the traceback refers to


class _Read(Iterator[Any]):
    """Results for a thread that waits for them."""

    def __init__(self, face: AsyncioFace, results: aio.Results) -> None:
        self._face = face
        self._results = results

    def __next__(self) -> Any:
        try:
            return self._face.wait(self._results.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._face.wait(self._results.aclose())


class AsyncioFace(Face):
    """`achilles.aio.Pool`."""

    name = "asyncio"
    most_calls = 2000
    _loop: ClassVar[asyncio.AbstractEventLoop]

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        options.setdefault("processes", 2)
        self.pool = aio.Pool(**options, **where)
        self._told: dict[str, Any] = {}
        self._pid = os.getpid()
        self.wait(self.pool.__aenter__())

    @classmethod
    @contextmanager
    def surroundings(cls) -> Iterator[None]:
        with asyncio.Runner() as runner:
            cls._loop = runner.get_loop()
            thread = threading.Thread(target=cls._loop.run_forever, name="asyncio-face", daemon=True)
            thread.start()
            try:
                yield
            finally:
                cls._loop.call_soon_threadsafe(cls._loop.stop)
                thread.join()

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine returns or raises."""
        if os.getpid() != self._pid:  # the loop's thread was not forked
            return _value(asyncio.run(_outcome(work)))
        return _value(asyncio.run_coroutine_threadsafe(_outcome(work), self._loop).result(PATIENCE_S))

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        found: list[Any] = self.wait(self.pool.map(func, items, **self._told, **options))
        return found

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        async def imap() -> aio.Results:
            return self.pool.imap(func, items, **self._told, **options)

        return _Read(self, self.wait(imap()))

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        async def imap_unordered() -> aio.Results:
            return self.pool.imap_unordered(func, items, **self._told, **options)

        return _Read(self, self.wait(imap_unordered()))

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return self._call(func, args, kwargs)[0]

    def cancellable(self, func: Callable[..., Any], *args: Any) -> tuple[Call, Callable[[], Any]]:
        return self._call(func, args, {})

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Call, Callable[[], Any]]:
        work = self.pool.apply(func, args, kwargs, **self._told)
        if os.getpid() != self._pid:
            value = self.wait(work)
            return lambda _: value, lambda: None
        future: Future[Outcome] = Future()
        tasks: list[asyncio.Task[Outcome]] = []

        def begin() -> None:
            tasks.append(self._loop.create_task(_outcome(work)))
            tasks[0].add_done_callback(lambda done: future.set_result(done.result()))

        def cancel() -> None:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())

        self._loop.call_soon_threadsafe(begin)
        return lambda timeout_s: _value(future.result(timeout_s)), cancel

    def next_within(self, timeout_s: float, func: Callable[[Any], Any], items: list[Any]) -> Any:
        async def first() -> Any:
            async with self.pool.imap(func, items) as results:
                return await asyncio.wait_for(anext(results), timeout_s)

        return self.wait(first())

    @contextmanager
    def told(self, **options: Any) -> Iterator[Face]:
        other = copy.copy(self)
        other._told = options
        yield other

    def finish(self) -> None:
        self.wait(self.pool.close())
        self.wait(self.pool.join())

    def cancel(self) -> None:
        self.wait(self.pool.terminate())
