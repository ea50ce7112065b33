"""Items that nobody wants any more: those that run are ended, those that wait never run."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from typing import Any

import pytest

from achilles.errors import TaskCancelled
from tests.integration.cancelling import begin, job_of, results_of


def check(results: list[Any], cancelled: set[int]) -> None:
    """These items were cancelled, and all others are their own results."""
    for index, result in enumerate(results):
        if index in cancelled:
            assert isinstance(result, TaskCancelled), (index, result)
            assert result.index == index and f"item {index}" in str(result)
        else:
            assert result == index


def test_an_item_that_runs_is_ended_and_its_worker_replaced(place, wait, tmp_path) -> None:
    def stuck(x):
        if x == 3:
            (tmp_path / "begun").touch()
            threading.Event().wait()
        return x

    before = place.settled()
    with job_of(place.call, stuck, range(12), chunksize=3) as job:
        wait((tmp_path / "begun").exists)
        job.cancel_item(3)
        results = results_of(job)
    assert len(results) == 12
    check(results, {3})
    wait(lambda: len(place.workers()) == 2 and place.workers() != before)


def test_one_that_ignores_sigterm_is_killed(place, wait, tmp_path) -> None:
    def stubborn(x):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (tmp_path / "begun").touch()
        while True:
            time.sleep(0.1)

    with job_of(place.call, stubborn, [0]) as job:
        wait((tmp_path / "begun").exists)
        job.cancel_item(0)
        check(results_of(job), {0})


def test_items_that_wait_are_never_run(place, wait, tmp_path) -> None:
    gate = tmp_path / "gate"

    def gated(x):
        (tmp_path / f"ran {x}").write_text(str(os.getpid()))
        while not gate.exists():
            time.sleep(0.005)
        return x

    def ran():
        return {int(path.name[4:]) for path in tmp_path.glob("ran *") if path.read_text()}

    place.settled()
    with job_of(place.call, gated, range(12), chunksize=3) as job:
        wait(lambda: len(ran()) == 2)
        first, second = ran()
        pid = int((tmp_path / f"ran {first}").read_text())
        # Behind what runs in its unit, and in other units.
        never = {
            second + 1,
            second + 2,
            *(set(range(12)) - {*range(first, first + 3), *range(second, second + 3)}),
        }
        for index in sorted(never):
            job.cancel_item(index)
            job.cancel_item(index)
        # Whoever has heard of this one has heard of the others.
        job.cancel_item(first)
        wait(lambda: pid not in place.workers())
        gate.touch()
        results = results_of(job)
    assert len(results) == 12
    check(results, {first, *never})
    assert ran() == set(range(12)) - never


@pytest.mark.parametrize("where", [0, 3000])
def test_an_item_among_thousands_of_short_ones(place, wait, tmp_path, where) -> None:
    def stuck(x):
        if x == where:
            (tmp_path / "begun").touch()
            threading.Event().wait()
        return x

    with job_of(place.call, stuck, range(20_000), chunksize=10_000) as job:
        wait((tmp_path / "begun").exists)
        job.cancel_item(where)
        results = results_of(job)
    assert len(results) == 20_000
    check(results, {where})


def test_an_item_that_lets_nothing_else_run_in_its_process(place, wait, tmp_path) -> None:
    """It holds the interpreter's lock, so its worker does not hear that it is to give back the rest."""

    def search(x):
        if x == 500:
            (tmp_path / "begun").touch()
            re.match(r"(a+)+$", "a" * 40 + "b")
        return x

    with job_of(place.call, search, range(2_000), chunksize=1_000) as job:
        wait((tmp_path / "begun").exists)
        job.cancel_item(500)
        results = results_of(job)
    assert len(results) == 2_000
    check(results, {500})


def test_an_item_that_is_done_keeps_its_result(place) -> None:
    with job_of(place.call, int, range(100), chunksize=10) as job:
        results = results_of(job)
        job.cancel_item(5)
        job.cancel_item(10**9)
        check(results, set())
    with job_of(place.call, int, range(3)) as job:
        check(results_of(job), set())


def test_items_that_are_not_drawn_yet_and_the_only_one(place) -> None:
    with job_of(place.call, int, range(100), chunksize=10, start=False) as job:
        for index in (0, 50, 99):
            job.cancel_item(index)
        begin(job)
        results = results_of(job)
    assert len(results) == 100
    check(results, {0, 50, 99})
    with job_of(place.call, int, [0], start=False) as job:
        job.cancel_item(0)
        begin(job)
        check(results_of(job), {0})


def test_all_items_whatever_they_do(place) -> None:
    def sleep(x):
        time.sleep(0.01)
        return x

    with job_of(place.call, sleep, range(200), chunksize=4) as job:
        for index in reversed(range(200)):
            job.cancel_item(index)
        results = results_of(job)
    assert len(results) == 200
    for index, result in enumerate(results):
        assert result == index or (isinstance(result, TaskCancelled) and result.index == index)
    assert sum(isinstance(result, TaskCancelled) for result in results) > 100


def test_a_packet_without_one_of_its_items_is_not_reduced(place, wait, tmp_path) -> None:
    def stuck(x):
        if x == 5:
            (tmp_path / "begun").touch()
            threading.Event().wait()
        return x

    with job_of(place.call, stuck, range(12), chunksize=2, reducer=sum) as job:
        wait((tmp_path / "begun").exists)
        job.cancel_item(5)
        results = results_of(job)
    assert [results[0], results[2]] == [0 + 1 + 2 + 3, 8 + 9 + 10 + 11]
    check([results[1]] if isinstance(results[1], int) else [], set())
    assert isinstance(results[1], TaskCancelled) and results[1].index == 5


def test_a_cancelled_item_of_a_job_with_a_time_limit(place, wait, tmp_path) -> None:
    def stuck(x):
        if x == 1:
            (tmp_path / "begun").touch()
            threading.Event().wait()
        return x

    with job_of(place.call, stuck, range(4), chunksize=2, timeout_s=60.0) as job:
        wait((tmp_path / "begun").exists)
        job.cancel_item(1)
        check(results_of(job), {1})
