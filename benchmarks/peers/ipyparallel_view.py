"""ipyparallel's load-balanced view over engines of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import EachOf, Peer, chunks_of


class Ipyparallel(Peer):
    """With a chunk size above 1 the arguments are cut into lists for it: its own chunks are slower."""

    def start(self) -> None:
        import ipyparallel

        self.cluster = ipyparallel.Cluster(n=self.workers, log_level=50)
        self.client = self.cluster.start_and_connect_sync(activate=False)
        self.view = self.client.load_balanced_view()

    def stop(self) -> None:
        self.client.close()
        self.cluster.stop_cluster_sync()

    def _view_args(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> tuple[Callable[[Any], Any], list[Any]]:
        self.in_lists = chunksize is not None and chunksize > 1
        if self.in_lists:
            assert chunksize is not None
            return EachOf(function), list(chunks_of(args, chunksize))
        return function, list(args)

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return list(self.view.map_sync(*self._view_args(function, args, chunksize)))

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        return iter(self.view.map_async(*self._view_args(function, args, chunksize), ordered=False))
