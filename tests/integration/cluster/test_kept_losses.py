"""Values that stay at a node: what becomes of them and of calls that use them when somebody is lost; room."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from achilles import Kept, KeptLost
from tests.integration.cluster.kept_values import (
    MEBIBYTE,
    Array,
    Two,
    kept_from,
    place_and_sum,
    write,
)
from tests.integration.cluster.parties import Place, wait_until


@pytest.fixture(autouse=True)
def collected(nothing_left: None) -> Iterator[None]:
    """Tracebacks of expected errors hold handles, in cycles."""
    yield
    gc.collect()


@pytest.fixture
def fragile(place: Place) -> Iterator[Two]:
    found = Two(place, near=True, workers=1)
    try:
        yield found
    finally:
        found.cluster.close()


def wait_for_file(array: Array, path: str) -> float:
    Path(path, f"{os.getpid()}").touch()
    while not Path(path, "go").exists():
        time.sleep(0.005)
    return float(array[0])


def test_a_node_that_is_gone(fragile: Two, tmp_path: Path) -> None:
    with fragile.pool() as pool:
        lost, other = fragile.on(0, pool), fragile.on(1, pool)
        small = fragile.on(0, pool, MEBIBYTE)
        running = pool.keep_async(wait_for_file, (lost, str(tmp_path)))
        wait_until(lambda: any(tmp_path.iterdir()), what="for the call to begin")
        fragile.cluster.end_node(fragile.nodes[0], signal.SIGKILL)
        with pytest.raises(KeptLost) as caught:
            running.get(30)
        assert (caught.value.node, caught.value.size_bytes) == (lost.node, lost.size_bytes)
        for use in (
            lost.value,
            lambda: pool.keep_async(write, (lost,)).get(30),
            lambda: pool.keep_async(place_and_sum, (other, small)).get(30),
            lambda: pool.apply(write, (lost,)),
        ):
            with pytest.raises(KeptLost, match="its node is gone"):
                use()
        # The others go on, and so do new ones.
        assert pool.keep_async(write, (other,)).get(30) == 4.0
        fragile.cluster.start_node(1)
        assert fragile.on(2, pool).value()[1] == 1.0


def test_the_last_node_is_gone(fragile: Two) -> None:
    with fragile.pool() as pool:
        lost = fragile.on(0, pool)
        for node in fragile.nodes:
            fragile.cluster.end_node(node, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(KeptLost, match="its node is gone"):
                pool.keep_async(write, (lost,)).get(30)


def test_a_node_that_leaves_in_peace(fragile: Two) -> None:
    with fragile.pool() as pool:
        lost = fragile.on(0, pool)
        fragile.cluster.end_node(fragile.nodes[0], signal.SIGTERM)
        with pytest.raises(KeptLost, match="its node is gone"):
            pool.keep_async(write, (lost,)).get(30)


def test_a_server_that_is_restarted(fragile: Two) -> None:
    with fragile.pool() as pool:
        lost = fragile.on(0, pool)
        seen = [len(node.lines) for node in fragile.nodes]
        fragile.cluster.restart_server(signal.SIGKILL)
        for node, after in zip(fragile.nodes, seen, strict=True):
            node.wait_for("CLIENT_ID:", after=after)
        with pytest.raises(KeptLost):
            pool.keep_async(write, (lost,)).get(60)
        with pytest.raises(KeptLost):
            lost.value()
        assert float(kept_from(pool).value()[1]) == 1.0


# Room.


def test_what_does_not_fit_comes_as_it_is(place: Place) -> None:
    found = Two(place, near=True, workers=1, ACHILLES_MEMORY_BUDGET="8M")
    try:
        with found.pool() as pool:
            assert pool.keep_async(bytes, (5 * MEBIBYTE,)).get(30) == bytes(5 * MEBIBYTE)
            made = [pool.keep_async(bytes, (MEBIBYTE + n,)).get(30) for n in range(16)]
            stayed = [each for each in made if isinstance(each, Kept)]
            assert 0 < len(stayed) <= 6  # of two nodes, half of 8 MiB each
            values = [each.value() if isinstance(each, Kept) else each for each in made]
            assert [len(value) for value in values] == [MEBIBYTE + n for n in range(16)]
            del made, stayed, values
            gc.collect()
            wait_until(lambda: isinstance(pool.keep_async(bytes, (2 * MEBIBYTE,)).get(30), Kept))
    finally:
        found.cluster.close()
