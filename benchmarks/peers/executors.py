"""``concurrent.futures.ProcessPoolExecutor`` and loky's executor.

Both draw all arguments at once; ``map`` of executors yields in order, the nearest they have to a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import Peer


class Futures(Peer):
    """The standard library's executor. Its default chunk size is 1."""

    def start(self) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self.executor: Any = ProcessPoolExecutor(self.workers)

    def stop(self) -> None:
        self.executor.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return list(self.executor.map(function, args, chunksize=chunksize or 1))

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        return self.executor.map(function, args, chunksize=chunksize or 1)  # type: ignore[no-any-return]


class Loky(Futures):
    """The executor behind joblib."""

    def start(self) -> None:
        from loky import get_reusable_executor

        self.executor = get_reusable_executor(max_workers=self.workers)

    def stop(self) -> None:
        self.executor.shutdown(wait=True, kill_workers=True)
