"""A node that is told to leave, and a server that is started again under three jobs."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from achilles import getClusterStatus, imap, imap_unordered, map
from tests.integration.recovery.conftest import Cluster


def slow_square(item: int) -> int:
    time.sleep(0.005)
    return item * item


def flat(packets: Any) -> list[Any]:
    return [value for packet in packets for value in packet]


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
    for _ in range(2):
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
