"""Where the tests of other libraries run: on this machine's cores, and on a server with two nodes.

Both live as long as these tests, since workers that have imported SciPy are slow to come by.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import achilles
from achilles.engines.cluster import close_idle_connections
from tests.integration.cluster import parties
from tests.integration.cluster.parties import Cluster, Place, wait_until
from tests.integration.forked_party import warm_process


@pytest.fixture(scope="package", autouse=True)
def place() -> Iterator[Place]:
    """Where this process looks for servers; nothing is configured there."""
    from achilles.lineReceiver.achilles_controller import controller_loop

    controller_loop()  # one for the process, so no test leaves it
    warm_process()
    found = Place()
    with pytest.MonkeyPatch.context() as patch:
        for key in list(os.environ):
            if key.startswith("ACHILLES_"):
                patch.delenv(key)
        for key, value in found.variables().items():
            patch.setenv(key, value)
        yield found
    found.remove()


@pytest.fixture(scope="package")
def cluster(place: Place) -> Iterator[Cluster]:
    """A server with two nodes of one worker each."""
    found = Cluster(place)
    try:
        for _ in range(2):
            found.start_node(1)
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module", autouse=True)
def nothing_left(cluster: Cluster) -> Iterator[None]:
    """Fails a module that leaves a thread or a process."""
    from achilles.pool.kept_places import close_kept

    wait_until(cluster.has_all_workers, what="for workers of nodes")
    threads, children = parties.own_threads(), parties.own_children()
    yield
    close_kept()  # those are left for the next Parallel
    close_idle_connections()
    wait_until(lambda: parties.own_threads() <= threads, what="for threads")

    def no_more() -> bool:
        now = parties.own_children()
        return now[0] <= children[0] and now[1] <= children[1]

    wait_until(no_more, what="for processes")


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Arguments of a call that say where it runs."""
    if request.param == "embedded":
        return {"address": "local"}
    cluster: Cluster = request.getfixturevalue("cluster")
    return {"address": f"127.0.0.1:{cluster.port}"}


@pytest.fixture(scope="module")
def pool(where: dict[str, Any]) -> Iterator[Any]:
    """An achilles.Pool of two workers."""
    with achilles.Pool(2, **where) as found:
        yield found
