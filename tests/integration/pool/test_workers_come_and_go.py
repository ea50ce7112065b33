"""Workers that are replaced after so many chunks, calls that are stopped while they run, objects for all."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import achilles
from tests.integration.cluster.parties import wait_until


def pid_of(_: object) -> int:
    return os.getpid()


def say_and_sleep(mark: str) -> None:
    Path(mark).touch()
    time.sleep(600)


@pytest.mark.parametrize(("chunks", "chunksize"), [(1, 1), (2, 3)])
def test_a_worker_runs_so_many_chunks(
    pools: Callable[..., achilles.Pool], chunks: int, chunksize: int
) -> None:
    items = 4 * chunks * chunksize
    with pools(2, maxtasksperchild=chunks) as pool:
        for results in (
            pool.map(pid_of, range(items), chunksize=chunksize),
            list(pool.imap_unordered(pid_of, range(items), chunksize=chunksize)),
        ):
            assert len(results) == items
            assert max(Counter(results).values()) <= chunks * chunksize
    pool.join()


def test_calls_count_too(pools: Callable[..., achilles.Pool]) -> None:
    with pools(2, maxtasksperchild=2) as pool:
        results = [pool.apply_async(pid_of, (item,)) for item in range(6)]
        assert max(Counter(result.get() for result in results).values()) <= 2
    pool.join()


@pytest.fixture
def executor(pools: partial[achilles.Pool]) -> achilles.Executor:
    return achilles.Executor(2, **pools.keywords)


def test_a_call_that_runs_is_stopped(executor: achilles.Executor, tmp_path: Path) -> None:
    with executor:
        mark = tmp_path / "runs"
        future = executor.submit(say_and_sleep, str(mark))
        wait_until(mark.exists)
        assert not future.cancel()
        assert future.cancel(running=True)
        with pytest.raises(CancelledError) as caught:
            future.result(60)
        assert isinstance(caught.value, achilles.TaskCancelled)
        assert executor.submit(abs, -1).result(60) == 1


def test_calls_that_wait_behind_others_are_not_run(executor: achilles.Executor, tmp_path: Path) -> None:
    with executor:
        marks = [tmp_path / str(number) for number in range(40)]
        futures = [executor.submit(say_and_sleep, str(mark)) for mark in marks]
        wait_until(lambda: sum(mark.exists() for mark in marks) >= 2)
        for future in reversed(futures):
            future.cancel(running=True)
        wait(futures, 60)
        assert all(future.done() for future in futures)
        # No more than ran at some moment of that.
        assert sum(mark.exists() for mark in marks) < len(marks)
        assert list(executor.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]


def test_what_is_done_stays_done(executor: achilles.Executor) -> None:
    with executor:
        future = executor.submit(abs, -1)
        assert future.result(60) == 1
        assert not future.cancel(running=True)
        assert future.result() == 1


def _sum_of(array: Any, factor: int) -> float:
    assert not array.value.flags.writeable
    return float(array.value.sum()) * factor


def test_broadcast(pool: achilles.Pool) -> None:
    array = pool.broadcast(np.ones(1_000_000))
    assert pool.map(partial(_sum_of, array), [1, 2, 3]) == [1e6, 2e6, 3e6]
    assert pool.apply(_sum_of, (array, 4)) == 4e6
    assert list(pool.imap_unordered(lambda item: float(array.value[item]), [0, 1])) == [1.0, 1.0]
    array.release()
    with pytest.raises(achilles.BroadcastLost, match="released"):
        pool.apply(_sum_of, (array, 4))


def test_a_pool_within_a_task_starts_no_workers_beside_its_own(pool: achilles.Pool) -> None:
    before = threading.active_count()
    assert pool.map(_with_a_pool, [1, 2], chunksize=1) == [[1, 2], [2, 3]]
    assert threading.active_count() <= before + 1


def _with_a_pool(number: int) -> list[int]:
    with achilles.Pool(4, address="local") as inner:
        return inner.map(number.__add__, [0, 1])
