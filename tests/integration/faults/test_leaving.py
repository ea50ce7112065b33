"""Workers that end because a task said so: another takes their place, and nothing is lost or run twice."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from typing import Any

import psutil
import pytest

import achilles
from tests.integration.faults.leaving_tasks import LeavesAfter


def flat(packets: list[list[Any]]) -> list[Any]:
    return [result for packet in packets for result in packet]


@pytest.mark.parametrize(("items", "chunksize"), [(240, 25), (60, 1)])
def test_every_process_runs_so_many_items_and_every_item_is_run_once(
    place, tmp_path, caplog, items, chunksize
) -> None:
    witness = tmp_path / "witness"
    with caplog.at_level(logging.WARNING):
        results = flat(achilles.map(LeavesAfter(3, witness), range(items), chunksize=chunksize, **place.call))
    assert [x for x, _ in results] == list(range(items))
    assert sorted(map(int, witness.read_text().split())) == list(range(items))
    assert max(Counter(pid for _, pid in results).values()) == 3
    assert caplog.records == []


def test_items_that_take_their_time(place) -> None:
    run = LeavesAfter(2, sleep_s=0.02)
    results = flat(achilles.map(run, range(20), chunksize=4, **place.call))
    assert [x for x, _ in results] == list(range(20))
    assert max(Counter(pid for _, pid in results).values()) == 2


def test_jobs_with_a_limit(place) -> None:
    results = flat(achilles.map(LeavesAfter(3), range(30), chunksize=5, timeout=60, **place.call))
    assert [x for x, _ in results] == list(range(30))
    assert max(Counter(pid for _, pid in results).values()) == 3


@pytest.mark.parametrize("chunksize", [1, 4])
def test_jobs_that_reduce(place, chunksize) -> None:
    def indices(results):
        return [x for x, _ in results]

    packets = achilles.map(LeavesAfter(3), range(20), chunksize=chunksize, reducer=indices, **place.call)
    assert flat(packets) == list(range(20))


def test_items_that_fail_and_leave(place) -> None:
    def fail(x):
        from achilles.workers.leaving import leave_after_this_item

        leave_after_this_item()
        raise ValueError(x)

    results = flat(achilles.map(fail, range(6), chunksize=3, on_error="return", **place.call))
    assert [error.args for error in results] == [(x,) for x in range(6)]


def test_large_results(place) -> None:
    def large(x):
        from achilles.workers.leaving import leave_after_this_item

        leave_after_this_item()
        return bytes([x]) * 3_000_000

    results = flat(achilles.map(large, range(6), chunksize=2, **place.call))
    assert [(result[0], len(result)) for result in results] == [(x, 3_000_000) for x in range(6)]


def test_what_it_printed_and_what_it_left_for_its_exit_is_done(place, tmp_path, wait, capfd) -> None:
    def prepare(x):
        import atexit
        import multiprocessing

        from achilles.workers.leaving import leave_after_this_item

        print(f"printed by {x}")
        atexit.register((tmp_path / f"exit {x}").touch)
        child = multiprocessing.get_context("fork").Process(target=work, args=(tmp_path / f"child {x}",))
        child.start()
        leave_after_this_item()
        return x

    def work(path):
        time.sleep(0.2)
        path.touch()

    assert flat(achilles.map(prepare, range(4), **place.call)) == [0, 1, 2, 3]
    printed = capfd.readouterr().out
    for x in range(4):
        assert f"printed by {x}" in printed
        wait((tmp_path / f"exit {x}").exists)
        wait((tmp_path / f"child {x}").exists)


def test_one_that_does_not_end_is_ended(place, wait) -> None:
    def hang(x):
        import atexit
        import threading

        from achilles.workers.leaving import leave_after_this_item

        atexit.register(threading.Event().wait)
        leave_after_this_item()
        return os.getpid()

    ((pid,),) = achilles.map(hang, [0], **place.call)
    wait(lambda: not psutil.pid_exists(pid))
    place.settled()
    assert achilles.map(abs, [-1], **place.call) == [[1]]


def test_it_means_nothing_elsewhere(place) -> None:
    from achilles.workers.leaving import leave_after_this_item

    leave_after_this_item()

    def in_a_child(x):
        import multiprocessing

        from achilles.workers.leaving import leave_after_this_item

        child = multiprocessing.get_context("fork").Process(target=leave_after_this_item)
        child.start()
        child.join()
        return os.getpid()

    pids = place.settled()
    assert set(flat(achilles.map(in_a_child, range(6), **place.call))) <= pids
    assert place.workers() == pids
