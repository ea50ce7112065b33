"""achilles on this machine's cores, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import Peer


class Embedded(Peer):
    """The embedded engine: it starts at the first call and keeps its workers until the process ends."""

    in_lists = True
    address = "local"

    def start(self) -> None:
        from achilles import imap_unordered, map

        self._map: Callable[..., list[Any]] = map
        self._stream: Callable[..., Iterator[Any]] = imap_unordered
        self._pool: Any = None

    def _options(self, chunksize: int | None) -> dict[str, Any]:
        return {"address": self.address, "chunksize": chunksize}

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return self._map(function, args, **self._options(chunksize))

    def one(self, function: Callable[[Any], Any], arg: Any) -> Any:
        if self._pool is None:
            from achilles import Pool

            self._pool = Pool(address=self.address)
        (result,) = self._pool.map(function, [arg])
        return result

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        # Packets as they are, so that the iterator still owns its job: dropping it cancels.
        return self._stream(function, args, **self._options(chunksize))

    def results_in(self, piece: Any) -> int:
        return len(piece["RESULT"]) if isinstance(piece, dict) else len(piece)

    def worker_pids(self) -> list[int]:
        from achilles.engines.local import local_engine

        return local_engine().pids
