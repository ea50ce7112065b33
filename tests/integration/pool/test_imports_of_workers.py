"""What workers import for a pool's calls: little, or the first call of a pool would take far longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import achilles
from tests.integration.pool.contract.tasks import modules, nothing

# Modules of the caller's side, of which one imports most others.
OF_CALLERS = {
    "achilles.pool.pool",
    "achilles.engines.job",
    "achilles.config",
    "dill",
    "multiprocess",
    "socket",
}


@pytest.mark.parametrize(
    "use",
    [
        lambda pool: pool.apply(modules),
        lambda pool: pool.apply_async(modules).get(),
        lambda pool: pool.map(modules, [1, 2])[0],
        lambda pool: pool.starmap(modules, [(1, 2), (3, 4)])[0],
        lambda pool: pool.map(modules, [1, 2], retries=1, timeout=60)[0],
        lambda pool: pool.keep_async(modules).get(),
    ],
    ids=["apply", "apply_async", "map", "starmap", "options", "keep_async"],
)
@pytest.mark.parametrize(
    "more",
    [{}, {"initializer": nothing}, {"maxtasksperchild": 10}],
    ids=["plain", "initializer", "maxtasksperchild"],
)
def test_nothing_of_the_callers_side(use: Callable[[achilles.Pool], set[str]], more: dict[str, Any]) -> None:
    with achilles.Pool(1, address="local", **more) as pool:
        assert not use(pool) & OF_CALLERS


def test_nor_for_an_executor() -> None:
    with achilles.Executor(1, address="local") as executor:
        assert not executor.submit(modules).result() & OF_CALLERS
        (found,) = executor.map(modules, [1])
        assert not found & OF_CALLERS
