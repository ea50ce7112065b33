"""Many controllers, nodes that come and go, a server that restarts."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from achilles import getClusterStatus, imap, imap_unordered, map
from tests.cluster.conftest import Cluster


def slow_square(item: int) -> int:
    time.sleep(0.005)
    return item * item


def where_it_ran(item: int) -> tuple[int, int]:
    time.sleep(0.02)
    return item, os.getppid()


def flat(packets: Any) -> list[Any]:
    return [value for packet in packets for value in packet]


def test_eight_controllers_share_two_nodes(cluster: Cluster) -> None:
    cluster.add_node(1)
    cluster.add_node(2)
    spans: dict[int, tuple[float, float]] = {}
    wrong: list[int] = []

    def control(number: int) -> None:
        times: list[float] = []
        values: list[int] = []
        for packet in imap(slow_square, range(150), **cluster.where):
            times.append(time.monotonic())
            values += packet["RESULT"]
        if values != [item * item for item in range(150)]:
            wrong.append(number)
        spans[number] = times[0], times[-1]

    controllers = [threading.Thread(target=control, args=(number,)) for number in range(8)]
    for controller in controllers:
        controller.start()
    for controller in controllers:
        controller.join(60)
    assert not wrong
    assert len(spans) == 8
    # Nobody waited for another to end: all had begun before the first was done.
    assert max(first for first, _ in spans.values()) < min(last for _, last in spans.values())


def test_a_node_that_joins_late_gets_work(cluster: Cluster) -> None:
    cluster.add_node(1)
    ran_on: set[int] = set()
    results = imap_unordered(where_it_ran, (item for item in range(10_000)), **cluster.where)
    for packet in results:
        ran_on |= {parent for _, parent in packet["RESULT"]}
        if len(ran_on) == 1 and packet["ARGS_COUNTER"] > 5 and len(cluster.programs) == 2:
            cluster.start_node(2)
        if len(ran_on) == 2:
            break
    results.close()
    assert len(ran_on) == 2


def test_a_killed_nodes_packets_run_elsewhere_in_order_and_once(cluster: Cluster) -> None:
    first = cluster.add_node(2)
    cluster.add_node(1)
    values: list[int] = []
    signalled = False
    for packet in imap(slow_square, range(600), **cluster.where):
        values += packet["RESULT"]
        if len(values) >= 100 and not signalled:
            signalled = True
            first.signal(signal.SIGKILL)
    assert values == [item * item for item in range(600)]
    cluster.wait_for(lambda status: len(status.nodes) == 1)


def test_a_node_told_to_leave_finishes_what_it_began_and_hands_back_the_rest(cluster: Cluster) -> None:
    first = cluster.add_node(2)
    cluster.add_node(1)
    values: list[int] = []
    signalled = False
    for packet in imap(slow_square, range(600), **cluster.where):
        values += packet["RESULT"]
        if len(values) >= 100 and not signalled:
            signalled = True
            first.signal(signal.SIGTERM)
    assert values == [item * item for item in range(600)]
    assert first.wait_for_end() == 0


def test_jobs_go_on_when_the_server_is_started_again(cluster: Cluster) -> None:
    cluster.add_node(2)
    outcomes: dict[str, list[int]] = {}

    def run(name: str) -> None:
        if name == "map":
            outcomes[name] = flat(map(slow_square, range(400), **cluster.where))
        else:
            call = imap if name == "imap" else imap_unordered
            packets = call(slow_square, (item for item in range(400)), **cluster.where)
            outcomes[name] = flat(packet["RESULT"] for packet in packets)

    runs = [threading.Thread(target=run, args=(name,)) for name in ("map", "imap", "imap_unordered")]
    for thread in runs:
        thread.start()
    cluster.wait_for(lambda status: len(status.jobs) == 3 and all(job["done"] > 20 for job in status.jobs))
    cluster.server.signal(signal.SIGKILL)
    cluster.server.wait_for_end()
    cluster.start_server()
    for thread in runs:
        thread.join(60)
    expected = [item * item for item in range(400)]
    assert outcomes["map"] == outcomes["imap"] == expected
    assert sorted(outcomes["imap_unordered"]) == expected
    assert getClusterStatus(**cluster.where).jobs == []
