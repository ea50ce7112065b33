"""Beginnings and ends: no nodes yet, a server that restarts, Ctrl-C, and the end of a cluster."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from achilles import (
    AuthenticationError,
    NoNodesError,
    ServerUnreachable,
    getClusterStatus,
    imap,
    killCluster,
    map,
)
from achilles.config import load_settings
from achilles.engines import startup
from achilles.lineReceiver import local_socket
from achilles.lineReceiver.dialling import dial
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import PROMPT_S, Cluster, Party, Place, wait_until
from tests.integration.cluster.test_sharing import Job
from tests.integration.living import is_running


@pytest.fixture
def started(place: Place) -> Iterator[Cluster]:
    """A server, and perhaps nodes, that begin as a user's do: Python and all that is imported included."""
    cluster = Cluster(place, fresh=True)
    try:
        yield cluster
    finally:
        cluster.close()


def test_without_nodes_a_call_warns_and_gives_up(moving: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "NO_NODES_WARNING_S", 0.1)
    started_s = time.monotonic()
    with (
        pytest.warns(RuntimeWarning, match=r"has no nodes.*`achilles node 127\.0\.0\.1:\d+`.*up to 0\.4 s"),
        pytest.raises(NoNodesError, match=r"Gave up after 0\.4 s") as caught,
    ):
        map(tasks.square, [1], startup_timeout=0.4, **moving.address)
    assert 0.4 <= time.monotonic() - started_s < 5
    assert isinstance(caught.value, TimeoutError) and caught.value.waited_s >= 0.4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packets = imap(tasks.square, iter(range(5)), startup_timeout=0.2, **moving.address)
        with pytest.raises(NoNodesError):
            next(packets)
        assert next(packets, None) is None
    wait_until(lambda: not getClusterStatus(**moving.address).jobs, PROMPT_S)


def test_a_node_that_comes_in_time_gets_the_work(started: Cluster) -> None:
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(map(tasks.square, range(5), startup_timeout=None, **started.address))
    )
    thread.start()
    wait_until(lambda: getClusterStatus(**started.address).jobs)
    started.start_node(2)
    thread.join(20)
    assert found == [[[0, 1], [4, 9], [16]]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_server_that_restarts_goes_on(moving: Cluster, number: signal.Signals) -> None:
    nodes = [moving.start_node(1), moving.start_node(2)]
    job = Job(moving, f"restart-{number}", 40)
    wait_until(lambda: all(job.begun()[node.pid] for node in nodes))
    printed = [len(node.lines) for node in nodes]
    moving.restart_server(number)
    for node, lines in zip(nodes, printed, strict=True):
        node.wait_for("CLIENT_ID:", after=lines)
    job.open_gate()
    assert set(job.check()) == {node.pid for node in nodes}
    assert map(tasks.square, [[1, 2, 3]], **moving.address) == [[1, 4, 9]]
    assert any("reconnecting" in line for line in nodes[0].lines)


def test_a_server_whose_local_socket_is_found_a_moment_later(
    moving: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, found = local_socket.find_connection_file, []

    def find_later(host: str, port: int) -> local_socket.ConnectionFile | None:
        found.append(find(host, port) if found else None)
        return found[-1]

    monkeypatch.setattr(local_socket, "find_connection_file", find_later)
    with closing(dial(load_settings(**moving.address))) as link:
        assert link.welcome is not None
    assert found[0] is None and found[1] is not None
    found.clear()
    monkeypatch.setattr(local_socket, "find_connection_file", lambda host, port: None)
    with pytest.raises(AuthenticationError, match="asks for a username and secret_key"):
        dial(load_settings(**moving.address))


def test_a_node_that_is_started_before_its_server(moving: Cluster) -> None:
    moving.server.stop()
    node = moving.start_node(1, wait=False)
    node.wait_for("Waiting for an achilles_server")
    with pytest.raises(ServerUnreachable, match="no achilles_server answers"):
        map(tasks.square, [1], **moving.address)
    moving.server = moving._server(moving.port)
    node.wait_for("CLIENT_ID: 0")
    assert map(tasks.square, [3], **moving.address) == [[9]]


def test_shutting_the_server_down(started: Cluster) -> None:
    node = started.start_node(2)
    workers = node.descendants()
    assert len(workers) == 2
    assert killCluster(**started.address, command_verified=True, shutdown_server=True) == 1
    assert node.wait() == 0
    assert started.server.wait() == 0
    wait_until(lambda: not any(is_running(worker) for worker in workers))
    with pytest.raises(ServerUnreachable):
        getClusterStatus(**started.address)
    run = started.place.path / "run" / "achilles"
    assert not list(run.glob(f"*-{started.port}.*"))  # neither socket nor connection file
    started.nodes.remove(node)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_idle_server_and_node_end_quickly(started: Cluster, number: signal.Signals) -> None:
    node = started.start_node(1)
    started_s = time.monotonic()
    code = started.end_node(node, number)
    assert code == 0
    assert started.server.stop(number) == 0
    assert time.monotonic() - started_s < 4.0


@pytest.mark.parametrize("call", ["runAchillesServer('127.0.0.1', 0)", "runAchillesNode('127.0.0.1', 1)"])
def test_an_interrupt_while_it_starts(place: Place, call: str) -> None:
    program = place.write(
        "starts.py",
        f"""
        import os, signal
        import achilles
        from twisted.internet import reactor
        reactor.addSystemEventTrigger("before", "startup", os.kill, os.getpid(), signal.SIGINT)
        achilles.{call}
        print("ended")
        """.replace("\n        ", "\n"),
    )
    party = Party([program], place=place)
    assert party.wait() == 0
    assert party.lines[-1] == "ended"
    assert "Traceback" not in party.text
