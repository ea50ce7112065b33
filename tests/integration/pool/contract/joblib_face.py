"""``joblib.Parallel`` on `achilles.joblib.AchillesBackend`."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, delayed

from achilles.joblib import AchillesBackend
from achilles.pool.kept_places import close_kept
from tests.integration.pool.contract.faces import Call, Face

__all__ = ["JoblibFace"]


class _Read(Iterator[Any]):
    """The results of a generator of joblib's, which warns when it is left before its end."""

    def __init__(self, results: Any) -> None:
        self._results: Any = results

    def __next__(self) -> Any:
        return next(self._results)

    def close(self) -> None:
        self.__del__()
        self._results = iter(())
        gc.collect()  # Parallel and its batches refer to each other

    def __del__(self) -> None:
        if hasattr(self._results, "close"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._results.close()


class JoblibFace(Face):
    """``joblib.Parallel``."""

    name = "joblib"
    most_calls = 20

    def __init__(self, where: dict[str, Any], **options: Any) -> None:
        assert not options
        self._backend = AchillesBackend(**where)

    @classmethod
    @contextmanager
    def surroundings(cls) -> Iterator[None]:
        yield
        close_kept()  # workers that are left for the next Parallel

    def _run(self, calls: Iterable[Any], return_as: str, chunksize: int | None = None) -> Any:
        parallel = Parallel(
            n_jobs=2,
            backend=self._backend,
            return_as=return_as,
            batch_size="auto" if chunksize is None else chunksize,
        )
        return parallel(calls)

    def all_of(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> list[Any]:
        found: list[Any] = self._run((delayed(func)(item) for item in items), "list", **options)
        return found

    def ordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return _Read(self._run((delayed(func)(item) for item in items), "generator", **options))

    def unordered(self, func: Callable[[Any], Any], items: Iterable[Any], **options: Any) -> Iterator[Any]:
        return _Read(self._run((delayed(func)(item) for item in items), "generator_unordered", **options))

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        read = _Read(self._run([delayed(func)(*args, **kwargs)], "generator"))
        return lambda _: next(read)

    def finish(self) -> None:
        """Nothing: see `CANNOT`."""

    cancel = finish
