"""Peers that fall silent without closing their connection. The heartbeat here is half a second."""

from __future__ import annotations

import signal
import threading
import time

from achilles import imap, map
from tests.integration.recovery.conftest import Cluster


def slow(item: int) -> int:
    time.sleep(0.01)
    return item + 1


def test_a_frozen_nodes_work_moves_and_it_rejoins_when_it_thaws(cluster: Cluster) -> None:
    frozen = cluster.add_node(2)
    cluster.add_node(1)
    values: list[int] = []
    asleep = False
    try:
        for packet in imap(slow, range(500), **cluster.where):
            values += packet["RESULT"]
            if len(values) >= 60 and not asleep:
                asleep = True
                frozen.signal(signal.SIGSTOP)
        assert values == [item + 1 for item in range(500)]
        cluster.wait_for(lambda status: len(status.nodes) == 1)
    finally:
        frozen.signal(signal.SIGCONT)
    # Its results of the job that is over are nobody's; it comes back under a new number.
    cluster.wait_for(lambda status: [node["id"] for node in status.nodes] == [1, 2])
    assert map(slow, range(6), **cluster.where)


def test_a_frozen_server_is_waited_for(cluster: Cluster) -> None:
    cluster.add_node(2)
    values: list[int] = []
    asleep = False
    for packet in imap(slow, range(400), **cluster.where):
        values += packet["RESULT"]
        if len(values) >= 60 and not asleep:
            asleep = True
            cluster.server.signal(signal.SIGSTOP)
            # Longer than node and controller have patience for; both dial again.
            threading.Timer(3.0, cluster.server.signal, (signal.SIGCONT,)).start()
    assert values == [item + 1 for item in range(400)]
