"""Single calls whose caller waits: on a worker that is lent, if one is idle (`achilles.workers.loan`)."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.pool import MaybeEncodingError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import achilles
from achilles.workers import channel
from achilles.workers.loan import Loan
from achilles.workers.worker import Worker
from tests.integration.cluster.parties import wait_until


@pytest.fixture
def pool() -> Iterator[achilles.Pool]:
    """A pool whose next single call is made directly."""
    with achilles.Pool(2, address="local") as made:
        made.apply(abs, (-1,))
        yield made
    made.join()


@pytest.fixture
def loans(monkeypatch: pytest.MonkeyPatch) -> list[Loan]:
    """The calls that were made directly."""
    made: list[Loan] = []
    make = Loan.call

    def call(loan: Loan, *args: Any) -> None:
        made.append(loan)
        make(loan, *args)

    monkeypatch.setattr(Loan, "call", call)
    return made


def fail(text: str) -> None:
    raise ValueError(text)


def die_until(path: str, times: int) -> int:
    with open(path, "a", encoding="ascii") as file:
        file.write("x")
    if os.path.getsize(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.path.getsize(path)


def touch_and_wait(mark: str, gate: str) -> str:
    Path(mark).touch()
    while not Path(gate).exists():
        time.sleep(0.002)
    return "passed"


def say(text: str) -> int:
    print(text)
    print(text, file=sys.stderr)
    return len(text)


def total(array: np.ndarray[Any, Any]) -> float:
    return float(array.sum())


def apply_again(pool: achilles.Pool, x: int) -> int:
    return int(pool.apply(abs, (x,)))


def leave() -> int:
    from achilles.workers.leaving import leave_after_this_item

    leave_after_this_item()
    return os.getpid()


def test_results_and_errors_are_as_ever(pool: achilles.Pool, loans: list[Loan]) -> None:
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(int, ("11",), {"base": 2}) == 3
    assert pool.map(abs, [-5]) == [5]
    assert pool.starmap(divmod, [(7, 2)]) == [(3, 1)]
    assert pool.apply(lambda x: x + 1, (1,)) == 2
    with pytest.raises(ValueError, match="no good") as caught:
        pool.apply(fail, ("no good",))
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="no better"):
        pool.map(fail, ["no better"])
    assert len(loans) == 7
    assert pool.status()["open_calls"] == 0
    assert pool.explain().figures.tasks == 8


def test_what_cannot_be_sent_is_told(pool: achilles.Pool, loans: list[Loan]) -> None:
    with pytest.raises(Exception, match="cannot be sent"):
        pool.apply(abs, ((x for x in ()),))
    with pytest.raises(MaybeEncodingError):
        pool.apply(iter_of, ())
    assert pool.apply(abs, (-2,)) == 2
    assert len(loans) == 2


def iter_of() -> Any:
    return (x for x in ())


def test_one_worker_is_used_again_and_again_and_others_are_left_alone(pool: achilles.Pool) -> None:
    assert len({pool.apply(os.getpid) for _ in range(20)}) == 1


def test_a_call_that_takes_long_holds_nobody_up(
    pool: achilles.Pool, tmp_path: Path, loans: list[Loan]
) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    found: list[str] = []
    caller = threading.Thread(target=lambda: found.append(pool.apply(touch_and_wait, (str(mark), str(gate)))))
    caller.start()
    wait_until(mark.exists)
    # The other worker does all that there is to do, single calls and others.
    assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
    assert [pool.apply(abs, (-x,)) for x in range(5)] == list(range(5))
    assert pool.apply_async(abs, (-7,)).get(60) == 7
    gate.touch()
    caller.join()
    assert found == ["passed"] and len(loans) == 6


def test_calls_from_many_threads(pool: achilles.Pool) -> None:
    results: dict[int, list[int]] = {}

    def call(number: int) -> None:
        results[number] = [pool.apply(abs, (-x,)) for x in range(number, 1000, 8)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(x for part in results.values() for x in part) == list(range(1000))
    assert pool.status()["open_calls"] == 0


def test_a_worker_that_dies_of_it_once_is_replaced_and_the_call_is_made_again(
    pool: achilles.Pool, tmp_path: Path, loans: list[Loan]
) -> None:
    path = str(tmp_path / "tries")
    assert pool.apply(die_until, (path, 1)) == 2
    assert len(loans) == 1 and loans[0].is_lost
    assert pool.apply(abs, (-3,)) == 3


def test_a_call_that_kills_workers_fails_in_the_end(pool: achilles.Pool, tmp_path: Path) -> None:
    path = tmp_path / "tries"
    with pytest.raises(achilles.WorkerDiedError):
        pool.apply(die_until, (str(path), 100))
    # Once directly, and three times as all items are tried.
    assert path.stat().st_size == 4
    assert pool.apply(abs, (-3,)) == 3


def test_what_it_prints_is_there_before_its_result(
    pool: achilles.Pool, capfd: pytest.CaptureFixture[str], loans: list[Loan]
) -> None:
    for number in range(30):
        assert pool.apply(say, (f"call {number}",)) == len(f"call {number}")
        out, err = capfd.readouterr()
        assert out.startswith("[local item ") and out.endswith(f"] call {number}\n")
        assert err.endswith(f"] call {number}\n")
    assert len(loans) == 30


def test_large_arguments_and_results(pool: achilles.Pool, loans: list[Loan]) -> None:
    array = np.ones(500_000)
    assert pool.apply(total, (array,)) == 500_000.0
    assert not loans  # nobody waits to write so much
    assert pool.apply(np.ones, (500_000,)).sum() == 500_000.0
    assert len(loans) == 1


def test_a_pool_within_a_call(pool: achilles.Pool) -> None:
    assert pool.apply(apply_again, (pool, -3)) == 3
    assert pool.apply(apply_again, (pool, -4)) == 4


def test_a_worker_that_leaves_has_answered(pool: achilles.Pool, loans: list[Loan]) -> None:
    pids = [pool.apply(leave) for _ in range(4)]
    assert len(set(pids)) == 4 and loans


def test_terminating_the_pool_ends_the_wait(tmp_path: Path) -> None:
    pool = achilles.Pool(2, address="local")
    pool.apply(abs, (-1,))
    mark = tmp_path / "mark"
    raised: list[BaseException] = []

    def call() -> None:
        try:
            pool.apply(touch_and_wait, (str(mark), str(tmp_path / "never")))
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(mark.exists)
    pool.terminate()
    caller.join(20)
    pool.join()
    assert not caller.is_alive()
    assert isinstance(raised[0], achilles.TaskCancelled | ValueError)


def test_closing_the_pool_waits_for_it(tmp_path: Path) -> None:
    pool = achilles.Pool(2, address="local")
    pool.apply(abs, (-1,))
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    found: list[str] = []
    caller = threading.Thread(target=lambda: found.append(pool.apply(touch_and_wait, (str(mark), str(gate)))))
    caller.start()
    wait_until(mark.exists)
    pool.close()
    joiner = threading.Thread(target=pool.join)
    joiner.start()
    joiner.join(0.2)
    assert joiner.is_alive()
    gate.touch()
    joiner.join(20)
    caller.join(20)
    assert found == ["passed"] and not joiner.is_alive()


def test_ctrl_c_ends_the_wait_and_then_the_call(pool: achilles.Pool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def interrupt() -> None:
        wait_until(mark.exists)
        _thread.interrupt_main()

    pids = set(pool.status()["workers"])
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.apply(touch_and_wait, (str(mark), str(tmp_path / "never")))
    assert time.monotonic() - began_s < 10
    interrupter.join()
    # Its worker is stopped, since nobody waits for it, and another comes.
    wait_until(lambda: len(pids & set(pool.status()["workers"])) == 1)
    wait_until(lambda: len(pool.status()["workers"]) == 2)
    assert pool.apply(abs, (-3,)) == 3


def test_a_callback_that_would_wait_for_its_own_thread_is_told_as_ever(pool: achilles.Pool) -> None:
    told: list[BaseException | int] = []
    done = threading.Event()

    def callback(_: int) -> None:
        try:
            told.append(pool.apply(abs, (-1,)))
        except BaseException as error:  # noqa: BLE001
            told.append(error)
        done.set()

    pool.apply_async(abs, (-1,), callback=callback)
    assert done.wait(60)
    assert isinstance(told[0], RuntimeError)


def test_workers_look_out_for_the_next_call_only_after_one_that_was_waited_for(
    pool: achilles.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon: list[bool] = []
    send = Worker.send

    def sent(worker: Worker, kind: int, status: int = 0, *args: Any, **kwargs: Any) -> None:
        if kind == channel.UNIT:
            soon.append(bool(status & channel.MORE_SOON))
        send(worker, kind, status, *args, **kwargs)

    monkeypatch.setattr(Worker, "send", sent)
    assert pool.map(abs, range(10)) == list(range(10))
    assert pool.apply_async(abs, (-1,)).get(60) == 1
    assert soon and not any(soon)
    soon.clear()
    assert pool.apply(abs, (-1,)) == 1
    assert soon == [len(os.sched_getaffinity(0)) > 1]
