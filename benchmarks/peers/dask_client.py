"""Dask's distributed scheduler, on this machine: a scheduler, and worker processes of one thread."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import EachOf, Peer, Sealed, chunks_of


class Dask(Peer):
    """With a chunk size above 1 the arguments are cut for it, as its users do."""

    def start(self) -> None:
        from distributed import Client, LocalCluster

        # It advises against large arguments in graphs; they are what W4 and W9 are about.
        warnings.simplefilter("ignore")
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self.cluster = LocalCluster(
            n_workers=self.workers, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self.client = Client(self.cluster)

    def stop(self) -> None:
        self.client.close()
        self.cluster.close()

    def _futures(self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None) -> Any:
        self.in_lists = chunksize is not None and chunksize > 1
        if self.in_lists:
            assert chunksize is not None
            chunks = [Sealed(chunk) for chunk in chunks_of(args, chunksize)]
            return self.client.map(EachOf(function), chunks, pure=False)
        return self.client.map(function, list(args), pure=False)

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return self.client.gather(self._futures(function, args, chunksize))  # type: ignore[no-any-return]

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        from distributed import as_completed

        futures = self._futures(function, args, chunksize)
        return (result for _, result in as_completed(futures, with_results=True))
