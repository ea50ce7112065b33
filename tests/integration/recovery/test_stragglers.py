"""A machine that is much slower than the others for one of its items."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from achilles import getClusterStatus, imap, imap_unordered, map
from tests.integration.recovery.conftest import Cluster

SLOW_ITEM = 30


def mostly_quick(argument: tuple[str, int]) -> tuple[int, int]:
    """The item is slow for whoever meets it first: until somebody opens the gate, which nobody does."""
    directory, item = argument
    time.sleep(0.005)
    if item == SLOW_ITEM:
        try:
            os.close(os.open(f"{directory}/met", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return item, os.getpid()
        while not os.path.exists(f"{directory}/gate"):
            time.sleep(0.005)
    return item, os.getpid()


def square(item: int) -> int:
    return item * item


def items(place: Path, count: int) -> list[tuple[str, int]]:
    return [(str(place), item) for item in range(count)]


def flat(packets: Any) -> list[Any]:
    return [value for packet in packets for value in packet]


@pytest.mark.parametrize("call", [map, imap, imap_unordered])
def test_a_copy_of_a_late_item_runs_on_an_idle_node(cluster: Cluster, tmp_path: Path, call: Any) -> None:
    for _ in range(2):
        cluster.add_node(1)
    packets = call(mostly_quick, items(tmp_path, 60), speculate=True, **cluster.where)
    results = flat(packets if call is map else (packet["RESULT"] for packet in packets))
    if call is imap_unordered:
        results.sort()
    assert [item for item, _ in results] == list(range(60))
    assert not (tmp_path / "gate").exists()
    # The worker that still waits at the gate is stopped and replaced; both nodes serve the next job.
    assert flat(map(square, range(40), **cluster.where)) == [item * item for item in range(40)]
    cluster.wait_for(lambda status: not status.jobs and not any(n["tasks_running"] for n in status.nodes))


def test_the_slow_node_is_free_again_while_the_job_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    """The attempt that lost is abandoned: its worker does not stand at the gate for the rest of the job."""
    for _ in range(2):
        cluster.add_node(1)
    pids: set[int] = set()

    def arguments() -> Any:
        yield from items(tmp_path, SLOW_ITEM + 1)
        # Nothing more until the late item is in, so that a node is idle.
        deadline_s = time.monotonic() + 20
        while not late_item_is_in and time.monotonic() < deadline_s:
            time.sleep(0.005)
        for item in range(SLOW_ITEM + 1, 100_000):
            if len(pids) >= 2:
                return
            yield (str(tmp_path), item)

    late_item_is_in = False
    for packet in imap_unordered(mostly_quick, arguments, speculate=True, **cluster.where):
        for item, pid in packet["RESULT"]:
            late_item_is_in = late_item_is_in or item == SLOW_ITEM
            if item > SLOW_ITEM:
                pids.add(pid)
    assert len(pids) >= 2, "one node did all the rest"
    assert not (tmp_path / "gate").exists()


def test_nothing_runs_twice_unless_it_is_allowed(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(2):
        cluster.add_node(1)
    packets = imap_unordered(mostly_quick, items(tmp_path, 60), **cluster.where)
    seen = set()
    for packet in packets:
        seen |= {item for item, _ in packet["RESULT"]}
        if len(seen) == 59:
            break
    # Much longer than a copy would take to be made.
    deadline_s = time.monotonic() + 1.0
    while time.monotonic() < deadline_s:
        (job,) = getClusterStatus(**cluster.where).jobs
        assert (job["done"], job["running"]) == (59, 1)
        time.sleep(0.05)
    (tmp_path / "gate").touch()
    assert [item for packet in packets for item, _ in packet["RESULT"]] == [SLOW_ITEM]


@pytest.mark.parametrize("where", [{"address": "local"}])
def test_embedded_it_changes_nothing(where: dict[str, Any]) -> None:
    assert flat(map(square, range(10), speculate=True, **where)) == [item * item for item in range(10)]
