"""Ray's ``Pool``: the stand-in for ``multiprocessing.Pool`` on its actors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import Peer


class RayPool(Peer):
    """A Ray of this machine alone, without dashboard and without usage reports."""

    def start(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray
        from ray.util.multiprocessing import Pool

        ray.init(
            num_cpus=self.workers,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
            object_store_memory=3 * 1024**3,
        )
        self.ray = ray
        self.pool = Pool(self.workers)

    def stop(self) -> None:
        self.pool.terminate()
        self.ray.shutdown()

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        return self.pool.map(function, args, chunksize)  # type: ignore[no-any-return]

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        return self.pool.imap_unordered(function, args, chunksize or 1)  # type: ignore[no-any-return]
