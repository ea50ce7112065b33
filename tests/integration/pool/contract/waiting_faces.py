"""The faces whose calls wait in the caller's thread: `achilles.Pool` and `achilles.Executor`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from contextlib import closing, contextmanager
from typing import Any

import achilles
from tests.integration.pool.contract.faces import PATIENCE_S, Call, Face

__all__ = ["ExecutorFace", "PoolFace"]


class PoolFace(Face):
    """`achilles.Pool`."""

    name = "pool"

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        options.setdefault("processes", 2)
        self.pool = achilles.Pool(**options, **where)
        self._told: dict[str, Any] = {}

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        return self.pool.map(func, items, **self._told, **options)

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self.pool.imap(func, items, **self._told, **options)

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self.pool.imap_unordered(func, items, **self._told, **options)

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return self.pool.apply_async(func, args, kwargs, **self._told).get

    def next_within(self, timeout_s: float, func: Callable[[Any], Any], items: list[Any]) -> Any:
        with closing(self.pool.imap(func, items)) as read:
            return read.next(timeout_s)

    @contextmanager
    def told(self, **options: Any) -> Iterator[Face]:
        other = copy.copy(self)
        other._told = options
        yield other

    def finish(self) -> None:
        self.pool.close()
        self.pool.join()

    def cancel(self) -> None:
        self.pool.terminate()
        self.pool.join()


class ExecutorFace(Face):
    """`achilles.Executor`."""

    name = "executor"
    closed_error = RuntimeError

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        self._where = where
        options["max_workers"] = options.pop("processes", 2)
        self.executor = achilles.Executor(**options, **where)

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return self.executor.map(func, items, **options)

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        assert not options
        futures = [self.executor.submit(func, item) for item in items]
        return (future.result() for future in as_completed(futures, PATIENCE_S))

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        return self.executor.submit(func, *args, **kwargs).result

    def cancellable(self, func: Callable[..., Any], *args: Any) -> tuple[Call, Callable[[], Any]]:
        future = self.executor.submit(func, *args)
        return future.result, lambda: future.cancel(running=True)

    def next_within(self, timeout_s: float, func: Callable[[Any], Any], items: list[Any]) -> Any:
        return next(self.executor.map(func, items, timeout=timeout_s))

    @contextmanager
    def told(self, **options: Any) -> Iterator[Face]:
        other = ExecutorFace(self._where, **options)
        yield other
        other.finish()

    def finish(self) -> None:
        self.executor.shutdown()

    def cancel(self) -> None:
        # What has no name of its own in the standard library.
        self.executor._pool.terminate()
        self.executor.shutdown(cancel_futures=True)
