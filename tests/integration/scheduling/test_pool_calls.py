"""Scheduled functions on real pools: given ones, and the program's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.pool import RemoteTraceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import achilles
from achilles.scheduling import functional, schedule
from achilles.scheduling.pool_calls import PoolCalls, close_program_calls


@pytest.fixture(scope="module")
def pool() -> Iterator[achilles.Pool]:
    with achilles.Pool(2, address="local") as pool:
        yield pool


@functional
def where(x: int) -> tuple[int, int]:
    return x, os.getpid()


@functional
def fails(x: int) -> int:
    raise ValueError("no", x)


@functional
def grown(array: Any, by: int) -> Any:
    return array + by


@functional
def total(*arrays: Any) -> float:
    return float(sum(array.sum() for array in arrays))


def places(n: int) -> list[tuple[int, int]]:
    return [where(i) for i in range(n)]


def test_calls_run_in_the_pools_workers(pool: achilles.Pool) -> None:
    found = schedule(places, pool=pool)(8)
    assert [x for x, _ in found] == list(range(8))
    assert os.getpid() not in {pid for _, pid in found}
    assert PoolCalls(pool).slots == 2


def test_exceptions_have_the_remote_traceback(pool: achilles.Pool) -> None:
    @schedule(pool=pool)
    def run() -> int:
        return fails(3)

    with pytest.raises(ValueError, match="no") as caught:
        run()
    assert caught.value.args == ("no", 3)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fails" in str(caught.value.__cause__)


def test_arguments_that_cannot_be_pickled_are_told(pool: achilles.Pool) -> None:
    @schedule(pool=pool)
    def run() -> Any:
        return where(threading.Lock())

    with pytest.raises(achilles.errors.SerializationError, match="lock"):
        run()


def test_large_results_stay_and_come_as_values(pool: achilles.Pool) -> None:
    @schedule(pool=pool)
    def run(n: int) -> tuple[float, int, list[Any]]:
        arrays = []
        for i in range(n):
            array = grown(np.zeros(100_000), i)
            arrays.append(grown(array, 1))
        both = total(*arrays)
        arrays[0][0] = 7.0
        return both, len(arrays), arrays

    both, count, arrays = run(3)
    assert (both, count) == (600_000.0, 3)
    assert all(type(each) is np.ndarray for each in arrays)
    assert arrays[0][0] == 7.0 and arrays[0][1] == 1.0
    assert total(*arrays) == 600_006.0


def test_a_scheduled_function_within_a_task_runs_in_place(pool: achilles.Pool) -> None:
    scheduled = schedule(places, pool=pool)
    pids = {pid for _, pid in pool.apply(scheduled, (3,))}
    assert len(pids) == 1 and os.getpid() not in pids


def test_the_programs_own_pool_is_kept() -> None:
    run = schedule(places, address="local")
    try:
        first = {pid for _, pid in run(8)}
        assert first & {pid for _, pid in run(8)}
    finally:
        close_program_calls()


def test_a_closed_pool_is_told_where_the_call_stands() -> None:
    pool = achilles.Pool(1, address="local")
    pool.terminate()
    pool.join()
    with pytest.raises(ValueError, match="Pool not running"):
        schedule(places, pool=pool)(1)


PROGRAM = """
import sys, time
import achilles

@achilles.schedule
def run(n):
    return [slow(i) for i in range(n)]

@achilles.functional
def slow(i):
    time.sleep(0 if SECONDS is None else SECONDS)
    return i

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else None
if __name__ == "__main__":
    print(run(1), flush=True)
    if SECONDS:
        run(100)
    print(run(4), sum(run(2)), flush=True)
"""


def test_a_program_ends_by_itself(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=_environment(),
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[0]\n[0, 1, 2, 3] 1\n", "", 0)


def test_ctrl_c_ends_it_soon(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    running = subprocess.Popen(
        [sys.executable, str(program), "0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "[0]\n"
    began_s = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert time.monotonic() - began_s < 15
    assert "KeyboardInterrupt" in errors
    assert running.returncode in (1, -signal.SIGINT)


def _environment() -> dict[str, str]:
    root = str(Path(achilles.__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": root, "ACHILLES_ADDRESS": "local"}
