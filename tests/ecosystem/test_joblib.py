"""``joblib.Parallel`` on achilles: what it promises with joblib's own backends, here and on a cluster."""

from __future__ import annotations

import gc
import inspect
import math
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator
from multiprocessing import TimeoutError
from pathlib import Path
from typing import Any

import psutil
import pytest

joblib = pytest.importorskip("joblib")

from joblib import Parallel, delayed, parallel_config

import achilles
import achilles.joblib
from achilles.workers.cores import available_cores
from tests.ecosystem import calls
from tests.integration.cluster.parties import wait_until
from tests.integration.living import is_running


@pytest.fixture(autouse=True)
def configured(where: dict[str, Any]) -> Iterator[None]:
    """What users write around their program."""
    with parallel_config(backend="achilles", **where):
        yield


def _slots(where: dict[str, Any]) -> int:
    return available_cores() if where == {"address": "local"} else 2


def test_results_in_order() -> None:
    assert Parallel()(delayed(math.sqrt)(number**2) for number in range(300)) == list(range(300))
    factor = 3
    assert Parallel(n_jobs=2)(delayed(lambda number: factor * number)(number) for number in range(5)) == [
        0, 3, 6, 9, 12,
    ]  # fmt: skip
    assert Parallel()(delayed(pow)(2, exp=number) for number in range(3)) == [1, 2, 4]
    assert Parallel()([]) == []


def test_all_slots_are_used_unless_fewer_are_asked_for(where: dict[str, Any], tmp_path: Path) -> None:
    slots = _slots(where)
    assert joblib.effective_n_jobs(-1) == slots
    assert Parallel().n_jobs == -1
    pids = Parallel()(delayed(calls.pid_once_all_run)(tmp_path, number, slots) for number in range(slots))
    assert len(set(pids)) == slots
    assert (os.getpid() in pids) == (slots == 1)


def test_one_job_is_a_loop_in_this_process() -> None:
    assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2


def test_short_calls_are_put_together() -> None:
    parallel = Parallel()
    assert parallel(delayed(calls.square)(number) for number in range(1500)) == [n * n for n in range(1500)]
    assert parallel.n_dispatched_batches < 1500


def test_exceptions_are_the_functions_own_and_harm_no_later_call(
    where: dict[str, Any], tmp_path: Path
) -> None:
    begin = tmp_path / "begin"

    def items() -> Iterator[int]:
        yield from [7] * 4
        # Of what joblib 1.5 has cut, and not handed out when the first one fails, its next call makes a part.
        begin.touch()

    with Parallel(n_jobs=2, pre_dispatch="all") as parallel:
        with pytest.raises(calls.Refused) as caught:
            parallel(delayed(calls.refuse)(item, begin) for item in items())
        assert caught.value.item == 7
        assert "refuse" in str(caught.value.__cause__)
        assert parallel(delayed(calls.square)(number) for number in range(4)) == [0, 1, 4, 9]


def test_an_exception_stops_what_runs(tmp_path: Path) -> None:
    with pytest.raises(calls.Refused):
        Parallel(n_jobs=2, batch_size=1)(
            [
                delayed(calls.wait_for_ever)(tmp_path, 0),
                delayed(calls.refuse_once_others_run)(tmp_path, 1),
                delayed(calls.wait_for_ever)(tmp_path, 1),
            ]
        )
    _nothing_runs_of(tmp_path)
    assert Parallel(n_jobs=2)(delayed(calls.square)(number) for number in range(3)) == [0, 1, 4]


def _nothing_runs_of(directory: Path) -> None:
    def runs(pid: int) -> bool:
        try:
            return is_running(psutil.Process(pid))
        except psutil.NoSuchProcess:
            return False

    def none_run() -> bool:
        return not any(runs(int(path.name.partition("-")[2])) for path in directory.iterdir())

    wait_until(none_run, what="for tasks of a call that came to an early end")


def test_a_dead_worker_is_an_error_of_its_item_and_nothing_hangs() -> None:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with pytest.raises(TerminatedWorkerError, match="killed by SIGKILL") as caught:
        Parallel(n_jobs=2)([delayed(calls.die)(0), delayed(calls.square)(1)])
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, achilles.WorkerDiedError) and error.exit_code == -signal.SIGKILL
    assert Parallel(n_jobs=2)(delayed(calls.square)(number) for number in range(3)) == [0, 1, 4]


def test_what_cannot_travel() -> None:
    with pytest.raises(pickle.PicklingError, match="lock") as caught:
        Parallel(n_jobs=2)(delayed(calls.square)(each) for each in [1, threading.Lock()])
    assert isinstance(caught.value, achilles.SerializationError)
    with pytest.raises(achilles.SerializationError):
        Parallel(n_jobs=2)(delayed(threading.Lock)() for _ in range(2))


def test_timeout(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        Parallel(n_jobs=2, timeout=0.3)(delayed(calls.wait_for_ever)(tmp_path, number) for number in range(4))
    _nothing_runs_of(tmp_path)


def test_two_generators_at_a_time() -> None:
    one = Parallel(n_jobs=2, return_as="generator")(delayed(calls.square)(number) for number in range(30))
    two = Parallel(n_jobs=2, return_as="generator")(delayed(calls.square)(-number) for number in range(30))
    assert next(two) == next(one) == 0
    assert list(one) == list(two) == [number**2 for number in range(1, 30)]


def test_a_dropped_generator_stops_what_runs(tmp_path: Path) -> None:
    results = Parallel(n_jobs=2, return_as="generator", batch_size=1)(
        [delayed(calls.square)(3), *(delayed(calls.wait_for_ever)(tmp_path, number) for number in range(3))]
    )
    assert next(results) == 9
    wait_until(lambda: list(tmp_path.iterdir()), what="for a task")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib says what was not used
        del results
        gc.collect()
    _nothing_runs_of(tmp_path)


def test_workers_are_used_again(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    with Parallel(n_jobs=2) as parallel:
        pids = [
            set(parallel(delayed(calls.pid_once_all_run)(tmp_path / name, number, 2) for number in range(2)))
            for name in "ab"
        ]
    assert len(pids[0]) == 2
    assert pids[0] == pids[1]
    again = Parallel(n_jobs=2)(delayed(calls.pid_once_all_run)(tmp_path / "c", n, 2) for n in range(2))
    assert set(again) == pids[0]


def test_calls_within_tasks_start_no_processes() -> None:
    found = Parallel(n_jobs=2)(delayed(calls.nested)(2) for _ in range(2))
    assert found == [[("ThreadingBackend", 0), ("SequentialBackend", 0), ("SequentialBackend", 0)]] * 2


def test_all_cores_are_within_a_task_the_workers_share_of_them(pool: Any, where: dict[str, Any]) -> None:
    # Whatever started the task: as many processes for each worker as there are cores would be a crowd.
    workers = 2 if where == {"address": "local"} else 1  # of each node
    assert set(pool.map(calls.cores_of_joblib, [-1] * 4)) == {max(available_cores() // workers, 1)}


def test_inner_threads(where: dict[str, Any]) -> None:
    name = "OPENBLAS_NUM_THREADS"

    def limits() -> set[str]:
        return set(Parallel(n_jobs=2)(delayed(calls.variable)(name) for _ in range(4)))

    before = limits()
    with parallel_config(backend="achilles", inner_max_num_threads=3, **where):
        assert limits() == {"3"}
    assert limits() == before != {"3"}


def test_named_at_the_call_and_given_itself(where: dict[str, Any]) -> None:
    ways = [(achilles.joblib.AchillesBackend(**where), {})]
    if "backend_kwargs" in inspect.signature(Parallel).parameters:  # since joblib 1.5
        ways.append(("achilles", where))
    for backend, more in ways:
        parallel = Parallel(n_jobs=2, backend=backend, **more)
        assert parallel(delayed(calls.square)(number) for number in range(3)) == [0, 1, 4]
        assert isinstance(parallel._backend, achilles.joblib.AchillesBackend)
        assert parallel._backend._settings.is_local == (where["address"] == "local")


def test_wrong_parameters() -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)([delayed(abs)(1)])
    with pytest.raises(TypeError, match="nonsense"):
        Parallel(n_jobs=2, nonsense=3)([delayed(abs)(1)])
    with pytest.raises(TypeError, match="nonsense"), parallel_config(backend="achilles", nonsense=3):
        pass


def test_shared_memory_means_threads() -> None:
    found: list[int] = []
    Parallel(n_jobs=2, require="sharedmem")(delayed(found.append)(number) for number in range(3))
    assert sorted(found) == [0, 1, 2]
