"""mpire's ``WorkerPool``, with workers kept alive between calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import Peer


class Mpire(Peer):
    """Arrays among the results are left apart, as every other peer leaves them."""

    def start(self) -> None:
        from mpire import WorkerPool

        self.pool = WorkerPool(n_jobs=self.workers, keep_alive=True)

    def stop(self) -> None:
        self.pool.terminate()

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return self.pool.map(  # type: ignore[no-any-return]
            function, args, chunk_size=chunksize, concatenate_numpy_output=False
        )

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        return self.pool.imap_unordered(function, args, chunk_size=chunksize)  # type: ignore[no-any-return]
