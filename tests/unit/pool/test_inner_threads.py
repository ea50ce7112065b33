"""Thread limits hold while one function runs, and no longer."""

from __future__ import annotations

import os
import pickle

import pytest

from achilles.pool.inner_threads import WithThreads
from achilles.workers.process import THREAD_LIMIT_VARIABLES


def _limits() -> list[str | None]:
    return [os.environ.get(name) for name in THREAD_LIMIT_VARIABLES]


def _fail() -> None:
    raise LookupError


def test_limits_hold_while_the_function_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = _limits()
    assert pickle.loads(pickle.dumps(WithThreads(_limits, 3)))() == ["3"] * len(THREAD_LIMIT_VARIABLES)
    assert _limits() == before
    with pytest.raises(LookupError):
        WithThreads(_fail, 3)()
    assert _limits() == before


def test_libraries_that_are_loaded_are_told() -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    numpy = pytest.importorskip("numpy")
    assert numpy.ones((2, 2)).dot(numpy.ones(2)).sum() == 4

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpoolctl.threadpool_info()}

    if not threads():
        pytest.skip("NumPy brings no library with threads here")
    before = threads()
    assert WithThreads(threads, 2)() == {2}
    assert threads() == before
