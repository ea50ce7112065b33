"""``joblib.Parallel`` with its default backend, kept open between calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.peers.peer import Peer


class Joblib(Peer):
    """By default joblib finds its batch size by itself; large arrays go through memory-mapped files."""

    def start(self) -> None:
        import joblib

        self.joblib = joblib

    def stop(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def _calls(self, function: Callable[[Any], Any], args: Iterable[Any]) -> Iterator[Any]:
        delayed = self.joblib.delayed(function)
        return (delayed(item) for item in args)

    def map(self, function: Callable[[Any], Any], args: list[Any], chunksize: int | None) -> list[Any]:
        parallel = self.joblib.Parallel(n_jobs=self.workers, batch_size=chunksize or "auto")
        return parallel(self._calls(function, args))  # type: ignore[no-any-return]

    def stream(
        self, function: Callable[[Any], Any], args: Iterable[Any], chunksize: int | None
    ) -> Iterator[Any]:
        parallel = self.joblib.Parallel(
            n_jobs=self.workers, batch_size=chunksize or "auto", return_as="generator_unordered"
        )
        return parallel(self._calls(function, args))  # type: ignore[no-any-return]
