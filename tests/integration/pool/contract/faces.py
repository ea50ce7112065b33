"""The faces of a pool behind one small interface, so that each keeps the same contract.

To add a face (asyncio, joblib), write a class with `Face`'s methods and name it in `FACES`; what it cannot do
it leaves to `Face`, which skips the test.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import as_completed
from typing import Any

import pytest

import achilles
from achilles import aio

__all__ = ["FACES", "AioFace", "Call", "ExecutorFace", "Face", "PoolFace"]

#: Waits for the result so many seconds at most, and returns it or raises.
Call = Callable[[float | None], Any]

#: Longer than anything takes that does not hang.
PATIENCE_S = 60.0


class Face:
    """What every face can do, named alike.

    Args:
        where: Arguments that lead to the engine.
        **options: Of the face itself.
    """

    #: What is raised by a face that was closed.
    closed_error: type[Exception] = ValueError

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        """Run all, and return the results in order."""
        return list(self.ordered(func, items, **options))

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Results in order, arguments drawn lazily."""
        raise NotImplementedError

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Results as they come."""
        raise NotImplementedError

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        """Begin one call."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take no more, do what was asked for, and end."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End at once; who waits is told."""
        raise NotImplementedError


class PoolFace(Face):
    """`achilles.Pool`."""

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        options.setdefault("processes", 2)
        self.pool = achilles.Pool(**options, **where)

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        return self.pool.map(func, items, **options)

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self.pool.imap(func, items, **options)

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self.pool.imap_unordered(func, items, **options)

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return self.pool.apply_async(func, args, kwargs).get

    def finish(self) -> None:
        self.pool.close()
        self.pool.join()

    def cancel(self) -> None:
        self.pool.terminate()
        self.pool.join()


class ExecutorFace(Face):
    """`achilles.Executor`."""

    closed_error = RuntimeError

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        options["max_workers"] = options.pop("processes", 2)
        self.executor = achilles.Executor(**options, **where)

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        if not options.keys() <= {"chunksize", "buffersize"}:
            pytest.skip("not an option of Executor.map")
        return self.executor.map(func, items, **options)

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        if options:
            pytest.skip("submit has no options")
        if not hasattr(items, "__len__"):
            pytest.skip("submit draws nothing")
        futures = [self.executor.submit(func, item) for item in items]
        return (future.result() for future in as_completed(futures, PATIENCE_S))

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return self.executor.submit(func, *args, **kwargs).result

    def finish(self) -> None:
        self.executor.shutdown()

    def cancel(self) -> None:
        # What has no name of its own in the standard library.
        self.executor._pool.terminate()
        self.executor.shutdown(cancel_futures=True)


class AioFace(Face):
    """`achilles.aio.Pool`, in a loop that runs in a thread."""

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        options.setdefault("processes", 2)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="aio-face")
        self.thread.start()
        self.pool = aio.Pool(**options, **where)

    def _run(self, made: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(made, self.loop).result()

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        results: list[Any] = self._run(self.pool.map(func, items, **options))
        return results

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self._one_by_one(self.pool.imap, func, items, options)

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self._one_by_one(self.pool.imap_unordered, func, items, options)

    def _one_by_one(
        self,
        imap: Callable[..., Any],
        func: Callable[[Any], Any],
        items: Iterable[Any],
        options: dict[str, Any],
    ) -> Iterator[Any]:
        async def start() -> Any:
            return imap(func, items, **options)

        return _OneByOne(self._run, self._run(start()))

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return asyncio.run_coroutine_threadsafe(self.pool.apply(func, args, kwargs), self.loop).result

    def finish(self) -> None:
        self._run(self.pool.close())
        self._run(self.pool.join())
        self._end()

    def cancel(self) -> None:
        self._run(self.pool.terminate())
        self._run(self.pool.join())
        self._end()

    def _end(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


class _OneByOne(Iterator[Any]):
    """An asynchronous iterator, read from another thread than its loop's."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], results: Any) -> None:
        self._run = run
        self._results = results

    def __next__(self) -> Any:
        async def following() -> tuple[bool, Any]:
            try:
                return True, await self._results.__anext__()
            except StopAsyncIteration:
                return False, None

        more, result = self._run(following())
        if not more:
            raise StopIteration
        return result

    def close(self) -> None:
        self._run(self._results.aclose())


class JoblibFace(Face):
    """`joblib.Parallel` on `achilles.joblib.AchillesBackend`; it has no single calls, and is never closed."""

    def __init__(self, where: dict[str, Any], processes: int = 2, **options: Any) -> None:
        pytest.importorskip("joblib")
        if options:
            pytest.skip("not an option of the backend")
        self._where = where
        self._processes = processes

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        return list(self._run("list", func, items, options))

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self._run("generator", func, items, options)

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self._run("generator_unordered", func, items, options)

    def _run(
        self, return_as: str, func: Callable[[Any], Any], items: Iterable[Any], options: dict[str, Any]
    ) -> Iterator[Any]:
        from joblib import Parallel, delayed

        from achilles.joblib import AchillesBackend

        if options:
            pytest.skip("not an option of Parallel")
        backend = AchillesBackend(**self._where)
        parallel = Parallel(n_jobs=self._processes, backend=backend, return_as=return_as)
        results: Iterator[Any] = parallel(delayed(func)(item) for item in items)
        return results

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        pytest.skip("joblib has no single calls")

    def finish(self) -> None:
        from achilles.pool.kept_places import close_kept

        close_kept()

    cancel = finish


FACES: dict[str, Callable[..., Face]] = {
    "pool": PoolFace,
    "executor": ExecutorFace,
    "aio": AioFace,
    "joblib": JoblibFace,
}
