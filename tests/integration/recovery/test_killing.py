"""`killCluster` when a node is frozen: it is answered in time, and the node ends as soon as it thaws."""

from __future__ import annotations

import signal
import time

import psutil
import pytest

from achilles import ServerUnreachable, getClusterStatus, imap, killCluster, map
from achilles.lineReceiver.server import KILL_TIMEOUT_S
from tests.integration.living import is_running
from tests.integration.recovery.conftest import Cluster


def descendants(program: psutil.Process) -> list[psutil.Process]:
    return [program, *program.children(recursive=True)]


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if is_running(each)]


@pytest.mark.parametrize("shutdown_server", [False, True])
def test_a_frozen_node_holds_nobody_up_and_ends_when_it_thaws(
    cluster: Cluster, shutdown_server: bool
) -> None:
    frozen, well = cluster.add_node(2), cluster.add_node(1)
    processes = {node: descendants(psutil.Process(node._process.pid)) for node in (frozen, well)}
    frozen.signal(signal.SIGSTOP)
    try:
        asked_s = time.monotonic()
        ended = killCluster(**cluster.where, command_verified=True, shutdown_server=shutdown_server)
        assert time.monotonic() - asked_s < KILL_TIMEOUT_S + 2
        assert ended in (1, 2)  # whether or not the frozen one was given up before
        assert well.wait_for_end() == 0
        assert not running(processes[well])
        if shutdown_server:
            assert cluster.server.wait_for_end() == 0
            with pytest.raises(ServerUnreachable):
                getClusterStatus(**cluster.where)
        else:
            cluster.wait_for(lambda status: not status.nodes)
        assert running(processes[frozen]) == processes[frozen]
    finally:
        frozen.signal(signal.SIGCONT)
    assert frozen.wait_for_end() == 0
    assert not running(processes[frozen])
    if not shutdown_server:
        assert getClusterStatus(**cluster.where).nodes == []


def test_a_frozen_node_that_cannot_be_told_is_told_when_it_is_back(cluster: Cluster) -> None:
    """What it was sent before fills its connection, so the word to end waits in the server."""
    frozen = cluster.add_node(2)
    frozen.signal(signal.SIGSTOP)
    try:
        with imap(len, (bytes(16 << 20) for _ in range(4)), **cluster.where):
            cluster.wait_for(lambda status: any(node["tasks_running"] for node in status.nodes))
            assert killCluster(**cluster.where, command_verified=True) == 1
        cluster.wait_for(lambda status: not status.nodes)
    finally:
        frozen.signal(signal.SIGCONT)
    assert frozen.wait_for_end() == 0
    # One that is started after that is another.
    cluster.add_node(1)
    assert map(len, [b"1"], **cluster.where) == [[1]]
