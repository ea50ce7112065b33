"""What was cancelled stays cancelled when the node that was told of it is lost, or the server."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from achilles.errors import TaskCancelled
from tests.integration.cancelling import begin, job_of, results_of
from tests.integration.recovery.conftest import Cluster


def waiting_for(gate: Path) -> Any:
    """A function whose item 0 waits, and that leaves a file for each item that it began."""

    def run(x):
        gate.with_name(f"ran {x}").touch()
        while x == 0 and not gate.exists():
            time.sleep(0.005)
        return x

    return run


def wait_for(path: Path) -> None:
    deadline_s = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline_s, f"waited in vain for {path}"
        time.sleep(0.01)


def check(results: list[Any], cancelled: set[int]) -> None:
    assert [isinstance(result, TaskCancelled) for result in results] == [
        index in cancelled for index in range(len(results))
    ]
    assert [index if index in cancelled else result for index, result in enumerate(results)] == list(
        range(len(results))
    )


def test_items_cancelled_while_there_is_no_node(cluster: Cluster, tmp_path: Path) -> None:
    with job_of(cluster.where, int, range(50), chunksize=5) as job:
        for index in (0, 7, 49):
            job.cancel_item(index)
        cluster.add_node(2)
        check(results_of(job), {0, 7, 49})


@pytest.mark.parametrize("lost", ["node", "server"])
def test_items_of_a_parcel_that_is_sent_again(cluster: Cluster, tmp_path: Path, lost: str) -> None:
    gate = tmp_path / "gate"
    node = cluster.add_node(1)
    with job_of(cluster.where, waiting_for(gate), range(12), chunksize=6, start=False) as job:
        job.cancel_item(5)
        begin(job)
        wait_for(tmp_path / "ran 0")
        job.cancel_item(3)
        if lost == "node":
            node.signal(signal.SIGKILL)
            node.wait_for_end()
            job.cancel_item(4)  # which may come while nobody has the parcel
            cluster.add_node(1)
        else:
            cluster.server.signal(signal.SIGKILL)
            cluster.server.wait_for_end()
            job.cancel_item(4)
            cluster.start_server()
        gate.touch()
        results = results_of(job)
    check(results, {3, 4, 5})
    assert not any((tmp_path / f"ran {index}").exists() for index in (3, 4, 5))


def test_an_item_that_would_never_end_on_any_node(cluster: Cluster, tmp_path: Path) -> None:
    def stuck(x):
        if x == 1:
            (tmp_path / "begun").touch()
            threading.Event().wait()
        return x

    node = cluster.add_node(1)
    with job_of(cluster.where, stuck, range(4), chunksize=2) as job:
        wait_for(tmp_path / "begun")
        node.signal(signal.SIGKILL)
        job.cancel_item(1)
        node.wait_for_end()
        cluster.add_node(1)
        check(results_of(job), {1})
