"""Items that run longer than ``timeout=``: ended, reported, and nobody else harmed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

import achilles
from achilles.errors import TaskTimeout


def test_an_item_that_never_ends_is_ended_and_reported(place) -> None:
    def stuck(x):
        if x == 3:
            threading.Event().wait()
        return x

    place.settled()
    began_s = time.monotonic()
    packets = achilles.map(stuck, range(12), chunksize=3, timeout=0.3, on_error="return", **place.call)
    took_s = time.monotonic() - began_s
    results = [result for packet in packets for result in packet]
    error = results.pop(3)
    assert results == [0, 1, 2, *range(4, 12)]
    assert isinstance(error, TaskTimeout) and isinstance(error, TimeoutError)
    assert (error.index, error.limit_s) == (3, 0.3)
    assert "item 3" in str(error) and "0.3 s" in str(error)
    assert 0.3 <= took_s < 5


def test_one_that_ignores_sigterm_is_killed(place) -> None:
    def stubborn(x):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.1)

    with pytest.raises(TaskTimeout):
        achilles.map(stubborn, [0], timeout=0.2, **place.call)


def test_its_children_end_as_well(place, wait, tmp_path) -> None:
    def leave_a_child(x):
        child = os.fork()
        if child:
            (tmp_path / "pid").write_text(str(child))
        threading.Event().wait()

    with pytest.raises(TaskTimeout):
        achilles.map(leave_a_child, [0], timeout=0.3, **place.call)
    pid = int((tmp_path / "pid").read_text())
    wait(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_items_in_time_and_slow_imports_are_left_alone(place) -> None:
    def quick(x):
        time.sleep(0.05)
        return x

    pids = place.settled()
    packets = achilles.map(quick, range(40), chunksize=10, timeout=0.45, **place.call)
    assert [result for packet in packets for result in packet] == list(range(40))
    assert place.workers() == pids


def test_a_failure_in_a_job_with_a_limit_looks_as_without(place) -> None:
    def fail(x):
        raise ValueError(x)

    with pytest.raises(ValueError) as caught:
        achilles.map(fail, [7], timeout=10, **place.call)
    text = str(caught.value.__cause__)
    assert "in fail" in text and "running.py" not in text


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_limits_that_are_none(timeout) -> None:
    with pytest.raises(ValueError, match="timeout must be"):
        achilles.map(abs, [1], timeout=timeout, address="local")


def test_limits_of_a_wrong_type() -> None:
    for timeout in ("1", True):
        with pytest.raises(TypeError, match="timeout must be"):
            achilles.imap(abs, [1], timeout=timeout, address="local")
