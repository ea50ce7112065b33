"""``multiprocessing.Pool`` of the standard library, and that of ``multiprocess``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

from benchmarks.peers.peer import Peer


class StdlibPool(Peer):
    """A pool with this platform's default start method."""

    package = "multiprocessing"

    def start(self) -> None:
        self.pool = import_module(self.package).Pool(self.workers)

    def stop(self) -> None:
        self.pool.terminate()
        self.pool.join()

    def worker_pids(self) -> list[int]:
        return [process.pid for process in self.pool._pool]

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return self.pool.map(function, args, chunksize)  # type: ignore[no-any-return]

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        return self.pool.imap_unordered(function, args, chunksize or 1)  # type: ignore[no-any-return]


class MultiprocessPool(StdlibPool):
    """The same, with dill."""

    package = "multiprocess"
