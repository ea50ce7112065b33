"""Peers that fall silent without closing their connection. The heartbeat here is half a second."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from achilles import Pool, imap, map
from achilles.engines.remote_calls import RemoteCall
from achilles.lineReceiver.controller_shortcut import ControllerShortcut
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


def test_single_calls_that_a_frozen_node_has_go_to_another(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    by: list[RemoteCall] = []
    call = RemoteCall.call

    def noted(one: RemoteCall, *args: Any) -> None:
        by.append(one)
        call(one, *args)

    monkeypatch.setattr(RemoteCall, "call", noted)
    frozen = cluster.add_node(1)
    with Pool(**cluster.where) as pool:
        while not (by and isinstance(by[-1]._line, ControllerShortcut)):
            assert pool.apply(slow, (1,)) == 2
        begun = len(by)
        frozen.signal(signal.SIGSTOP)
        try:
            results: list[int] = []
            caller = threading.Thread(target=lambda: results.append(pool.apply(slow, (2,))))
            caller.start()
            cluster.add_node(1)
            caller.join(30)
            assert results == [3]
            # It went straight to the frozen node, and was lost with it.
            assert isinstance(by[begun]._line, ControllerShortcut) and by[begun].answer is None
            assert pool.apply(slow, (3,)) == 4
        finally:
            frozen.signal(signal.SIGCONT)
        cluster.wait_for(lambda status: len(status.nodes) == 2)
        assert pool.apply(slow, (4,)) == 5
    by.clear()  # they refer to results
