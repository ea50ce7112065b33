"""Large arrays that come again, as arguments or with functions, on real workers: once to each machine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import achilles
from achilles import Pool
from tests.integration.cluster.parties import Cluster
from tests.integration.cluster.proxies import Proxy

Where = dict[str, Any]
SIZE = 9 << 20


@pytest.fixture(autouse=True)
def collected(nothing_left: None) -> Iterator[None]:
    """Frames of tests hold arrays, and these blobs."""
    yield
    gc.collect()


@pytest.fixture(params=["cluster", "embedded", "tls"])
def where(request: pytest.FixtureRequest, reach: Callable[[str], Where]) -> Where:
    """As elsewhere, and as from another machine."""
    return reach(request.param)


def numbers() -> np.ndarray[Any, Any]:
    return np.arange(SIZE // 8, dtype=np.float64)


def flat(packets: Any) -> list[Any]:
    return [result for packet in packets for result in packet]


def at_place(pair: tuple[np.ndarray[Any, Any], int]) -> tuple[float, bool]:
    array, place = pair
    found = float(array[place]), bool(array.flags.writeable)
    array[place] = -1.0  # nobody else sees it
    return found


def test_an_argument_that_comes_again_and_again(where: Where) -> None:
    array = numbers()
    found = flat(achilles.map(at_place, [(array, place % 4) for place in range(24)], chunksize=1, **where))
    assert found == [(float(place % 4), True) for place in range(24)]
    assert array[0] == 0.0


def test_an_argument_that_is_written_to_in_between(where: Where) -> None:
    array = numbers()

    def arguments() -> Iterator[tuple[np.ndarray[Any, Any], int]]:
        for number in range(12):
            if number % 5 == 3:
                array[:] = number
            yield array, 2

    expected, value = [], 2.0
    for number in range(12):
        value = float(number) if number % 5 == 3 else value
        expected.append((value, True))
    assert flat(achilles.map(at_place, arguments, chunksize=1, **where)) == expected


def test_an_argument_that_comes_again_crosses_once(counted: tuple[Cluster, list[Proxy]]) -> None:
    cluster, proxies = counted
    array = numbers()
    before = [len(proxy.from_server) for proxy in proxies]
    found = flat(achilles.map(at_place, [(array, 1)] * 40, chunksize=1, **cluster.address))
    assert found == [(1.0, True)] * 40
    crossed = sum(len(proxy.from_server) for proxy in proxies) - sum(before)
    # One as it is, and the blob to each node.
    assert crossed < 4 * SIZE


def take(array: np.ndarray[Any, Any], place: int) -> float:
    return float(array[place])


def test_a_function_that_comes_again_with_its_array(where: Where) -> None:
    array = numbers()
    with Pool(**where) as pool:
        for call in range(6):
            if call == 4:
                array[:] = -1.0
            expected = [-1.0] * 8 if call >= 4 else [float(place) for place in range(8)]
            assert flat(achilles.map(partial(take, array), range(8), chunksize=1, **where)) == expected
            assert pool.map(partial(take, array), range(8), chunksize=1) == expected


def test_functions_that_come_again_cross_once(counted: tuple[Cluster, list[Proxy]]) -> None:
    cluster, proxies = counted
    array = numbers()
    before = [len(proxy.from_server) for proxy in proxies]
    for _ in range(10):
        function = partial(take, array)
        assert flat(achilles.map(function, range(8), chunksize=1, **cluster.address)) == list(range(8))
    # As it is, and then the blob.
    for proxy, start in zip(proxies, before, strict=True):
        assert len(proxy.from_server) - start < 2.2 * SIZE
