"""The faces of a pool behind one small interface, so that each keeps the same contract.

To add a face (asyncio, joblib), write a class with `Face`'s methods and name it in `FACES`; what it cannot do
it leaves to `Face`, which skips the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from typing import Any

import pytest

import achilles

__all__ = ["FACES", "Call", "ExecutorFace", "Face", "PoolFace"]

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


FACES: dict[str, Callable[..., Face]] = {"pool": PoolFace, "executor": ExecutorFace}
