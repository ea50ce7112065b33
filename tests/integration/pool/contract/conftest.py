"""Every face on every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import achilles
from tests.integration.cluster.parties import Cluster
from tests.integration.pool.conftest import pair, place
from tests.integration.pool.contract.asyncio_face import AsyncioFace
from tests.integration.pool.contract.faces import CANNOT, ENDING, Face
from tests.integration.pool.contract.waiting_faces import ExecutorFace, PoolFace

__all__ = ["pair", "place"]

_ENGINES = ("embedded", "cluster")


@pytest.fixture(scope="module", params=_ENGINES)
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Arguments that lead to an engine."""
    if request.param == "embedded":
        return {"address": "local"}
    cluster: Cluster = request.getfixturevalue("pair")
    return cluster.address


def _kind(name: str) -> type[Face]:
    if name == "joblib":
        pytest.importorskip("joblib")
        from tests.integration.pool.contract.joblib_face import JoblibFace

        return JoblibFace
    kinds: dict[str, type[Face]] = {"pool": PoolFace, "executor": ExecutorFace, "asyncio": AsyncioFace}
    return kinds[name]


@pytest.fixture(scope="module", params=list(CANNOT))
def faces(request: pytest.FixtureRequest, where: dict[str, Any]) -> Iterator[Callable[..., Face]]:
    """Makes faces of one kind."""
    kind = _kind(request.param)
    with kind.surroundings():
        yield partial(kind, where)


@pytest.fixture(scope="module", params=[name for name, lacks in CANNOT.items() if ENDING not in lacks])
def ending(request: pytest.FixtureRequest, where: dict[str, Any]) -> Iterator[Callable[..., Face]]:
    """Makes faces of one kind that have an end, for tests of it."""
    kind = _kind(request.param)
    with kind.surroundings():
        yield partial(kind, where)


@pytest.fixture(scope="module")
def face(faces: Callable[..., Face]) -> Iterator[Face]:
    """A face for the tests of a module that leave it as it was."""
    made = faces()
    yield made
    made.finish()


@pytest.fixture(scope="module")
def pool(where: dict[str, Any]) -> Iterator[achilles.Pool]:
    """A pool for what the other faces have no names for."""
    with achilles.Pool(2, **where) as made:
        yield made
    made.join()
