"""Pools on this machine's cores and on a cluster, and a check that no test leaves anything behind."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import achilles
from achilles import aio
from achilles.engines.cluster import close_idle_connections
from tests.integration.cluster import parties
from tests.integration.cluster.conftest import pair, place
from tests.integration.cluster.parties import Cluster, wait_until

__all__ = ["pair", "place"]


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_the_module(place: parties.Place) -> Iterator[None]:
    """Fails a module that leaves a descriptor, a thread or a process."""
    threads, descriptors = parties.own_threads(), parties.own_descriptors()
    children = parties.own_children()
    yield

    def more_threads() -> set[str]:
        close_idle_connections()
        return parties.own_threads() - threads

    try:
        wait_until(lambda: not more_threads())
    except AssertionError:
        faulthandler.dump_traceback()
        pytest.fail(f"these threads are left: {more_threads()}")
    try:
        wait_until(lambda: parties.own_descriptors() <= descriptors, what="for descriptors")
    except AssertionError:
        pytest.fail(f"these descriptors are left: {parties.own_descriptors() - descriptors}")
    wait_until(lambda: parties.own_children() <= children, what="for processes")


@pytest.fixture(autouse=True)
def _no_idle_connections() -> Iterator[None]:
    """Those that are left for the next call are no part of what a test leaves."""
    yield
    close_idle_connections()


@pytest.fixture(params=["embedded", "cluster"])
def pools(request: pytest.FixtureRequest) -> Callable[..., achilles.Pool]:
    """Makes pools, on either engine."""
    if request.param == "embedded":
        return partial(achilles.Pool, address="local")
    cluster: Cluster = request.getfixturevalue("pair")
    return partial(achilles.Pool, **cluster.address)


@pytest.fixture
def pool(pools: Callable[..., achilles.Pool]) -> Iterator[achilles.Pool]:
    """A pool of two workers, or of the cluster's four."""
    with pools(2) as made:
        yield made
    made.join()


@pytest.fixture(params=["embedded", "cluster"])
def reach(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Arguments that lead to either engine."""
    if request.param == "embedded":
        return {"address": "local"}
    cluster: Cluster = request.getfixturevalue("pair")
    return cluster.address


@pytest.fixture
def async_pools(reach: dict[str, Any]) -> Callable[..., aio.Pool]:
    """Makes pools for asyncio programs, on either engine."""
    return partial(aio.Pool, **reach)


@pytest.fixture
def where(pair: Cluster) -> dict[str, Any]:
    """Arguments that lead to the cluster."""
    return pair.address
