"""Clusters of child processes, and a check that no test leaves anything of its own behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tqdm import tqdm

from achilles import getClusterStatus
from achilles.engines import open_calls
from achilles.engines.cluster import close_idle_connections
from tests.integration.cluster import parties
from tests.integration.cluster.parties import PROMPT_S, SECRET_KEY, USERNAME, Cluster, Place, wait_until
from tests.integration.cluster.proxies import Proxy
from tests.integration.forked_party import warm_process

WITH_KEY = f", username={USERNAME!r}, secret_key={SECRET_KEY!r}"


@pytest.fixture(scope="module", autouse=True)
def place() -> Iterator[Place]:
    """Where this process, as a controller, looks for servers; nothing is configured there."""
    from achilles.lineReceiver.achilles_controller import controller_loop

    tqdm.monitor_interval = 0  # no thread of tqdm's own
    controller_loop()  # one for the process, so no test leaves it
    warm_process()
    found = Place()
    with pytest.MonkeyPatch.context() as patch:
        for key in list(os.environ):
            if key.startswith("ACHILLES_"):
                patch.delenv(key)
        for key, value in found.variables().items():
            patch.setenv(key, value)
        patch.chdir(found.work)
        yield found
    found.remove()


@pytest.fixture(scope="module")
def pair(place: Place) -> Iterator[Cluster]:
    """A server with nodes of 1 and 3 workers, shared by a module's tests."""
    cluster = Cluster(place)
    try:
        for cpu_count in (1, 3):
            cluster.start_node(cpu_count, wait=False)
        for node in cluster.nodes:
            node.wait_for("CLIENT_ID:")
        _settle(cluster)
        members = (cluster.server, *cluster.nodes)
        before = [party.descriptors() for party in members]
        yield cluster
        _settle(cluster)

        def no_more() -> bool:
            return all(party.descriptors() <= most for party, most in zip(members, before, strict=True))

        wait_until(no_more, what="for descriptors of server and nodes")
    finally:
        cluster.close()


@pytest.fixture
def moving(place: Place) -> Iterator[Cluster]:
    """A server to which a test adds nodes, and from which it takes them."""
    cluster = Cluster(place)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def counted(place: Place) -> Iterator[tuple[Cluster, list[Proxy]]]:
    """Two nodes of two workers each, as on other machines; and what their connections carry."""
    cluster = Cluster(place)
    proxies = [Proxy(cluster.port) for _ in range(2)]
    try:
        for proxy in proxies:
            cluster.start_node(2, port=proxy.port, more=WITH_KEY, ACHILLES_LOCAL_SOCKET="off")
        yield cluster, proxies
    finally:
        cluster.close()
        for proxy in proxies:
            proxy.close()


@pytest.fixture(scope="module")
def embedded(place: Place) -> Iterator[dict[str, Any]]:
    """The embedded engine, started, and ended after the module's tests."""
    import achilles
    from achilles.engines import local

    assert achilles.map(abs, [-1], address="local") == [[1]]
    engine = local.local_engine()
    yield {"address": "local"}
    engine.close()
    local._engine = None


@pytest.fixture
def none_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little of its cores the machine has for a single call, the next one goes the same way."""
    monkeypatch.setattr(open_calls, "LONG_US", 60_000_000)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a descriptor, a thread or a process, or a job on the shared cluster."""
    shared = [name for name in ("pair", "embedded", "where") if name in request.fixturenames]
    if "reach" in request.fixturenames:
        shared += ["pair", "embedded"]  # which it gets when the test has begun
    for name in shared:
        request.getfixturevalue(name)
    _all_workers_are_there()
    if "pair" in request.fixturenames:
        pair: Cluster = request.getfixturevalue("pair")
        wait_until(pair.has_all_workers, what="for workers of nodes")
    threads, descriptors = parties.own_threads(), parties.own_descriptors()
    children = _children()
    yield
    close_idle_connections()  # which are left for the next call, and no part of what a test leaves
    if "pair" in request.fixturenames:
        _settle(request.getfixturevalue("pair"))
    try:
        wait_until(lambda: parties.own_threads() <= threads, what="for threads")
    except AssertionError:
        pytest.fail(f"these threads are left: {parties.own_threads() - threads}")
    try:
        wait_until(lambda: parties.own_descriptors() <= descriptors, what="for descriptors")
    except AssertionError:
        pytest.fail(f"these descriptors are left: {parties.own_descriptors() - descriptors}")

    def no_more() -> bool:
        # Workers may have been replaced, so of these the number alone says something.
        now = _children()
        return now[0] <= children[0] and now[1] <= children[1]

    wait_until(no_more, what="for processes")


def _children() -> tuple[set[int], int]:
    """This process's own children but the embedded engine's workers; how many there are below it in all."""
    from achilles.engines import local

    children, below = parties.own_children()
    return children - set(local._engine.pids if local._engine is not None else ()), below


def _all_workers_are_there() -> None:
    """One that the test before has stopped may not have been replaced yet."""
    from achilles.engines import local

    engine = local._engine
    if engine is not None:
        wait_until(lambda: engine._closed or len(engine.pids) == engine.cpu_count, what="for workers")


def _settle(cluster: Cluster) -> None:
    """No job is left, and nobody is connected but the nodes and who asks."""

    def idle() -> bool:
        # A thread may let its connection go, for the next call, only after the test has what it asked for.
        close_idle_connections()
        status = getClusterStatus(**cluster.with_key)
        return not status.jobs and status.server["controllers"] == 1

    wait_until(idle, PROMPT_S, "for the jobs to be gone from the server")


@pytest.fixture
def reach(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Arguments of a call, by how it is made."""

    def reach(how: str) -> dict[str, Any]:
        if how == "embedded":
            local: dict[str, Any] = request.getfixturevalue("embedded")
            return local
        cluster: Cluster = request.getfixturevalue("pair")
        if how == "cluster":
            return cluster.address
        # The controller as on another machine; the nodes are near the server.
        assert how == "tls"
        monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
        return cluster.with_key

    return reach


@pytest.fixture(params=["cluster", "embedded"])
def where(request: pytest.FixtureRequest, reach: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Arguments of a call: for the shared cluster, and for the embedded engine."""
    return reach(request.param)
