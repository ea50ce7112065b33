"""Large arguments and results: the same bytes on every way, writable, and nothing left of them."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from achilles import imap, map, sealed
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import (
    SECRET_KEY,
    USERNAME,
    Cluster,
    Place,
    own_descriptors,
    wait_until,
)

Where = dict[str, Any]
MEBIBYTE = 1 << 20


@pytest.fixture(params=["cluster", "embedded", "tls"])
def where(request: pytest.FixtureRequest, reach: Callable[[str], Where]) -> Where:
    """As elsewhere, and as from another machine."""
    return reach(request.param)


@pytest.fixture
def far_node(place: Place) -> Iterator[Cluster]:
    """A server whose one node is as on another machine."""
    cluster = Cluster(place)
    try:
        more = f", username={USERNAME!r}, secret_key={SECRET_KEY!r}"
        cluster.start_node(2, more=more, ACHILLES_LOCAL_SOCKET="off")
        yield cluster
    finally:
        cluster.close()


def array(number: int, size_bytes: int) -> np.ndarray[Any, Any]:
    made = np.arange(size_bytes // 8, dtype=np.float64)
    made += number
    return made


def check(found: list[Any], sizes: list[int]) -> None:
    for number, (came, size) in enumerate(zip(found, sizes, strict=True)):
        assert np.array_equal(came, array(number, size))
        assert came.flags.aligned
        came[:] = 0


SIZES = [20 * MEBIBYTE, 1000, 300_000, MEBIBYTE, 8, 131_072, 131_064, 5 * MEBIBYTE, 64, 700_000, 3 * MEBIBYTE]


@pytest.mark.parametrize("chunksize", [1, 4])
def test_arrays_of_mixed_sizes_come_back_writable(where: Where, chunksize: int) -> None:
    arguments = [array(number, size) for number, size in enumerate(SIZES)]
    packets = map(tasks.identity, arguments, chunksize=chunksize, **where)
    check([came for packet in packets for came in packet], SIZES)


def test_to_a_far_node_and_back(far_node: Cluster) -> None:
    arguments = [array(number, size) for number, size in enumerate(SIZES)]
    packets = map(tasks.identity, arguments, **far_node.address)
    check([came for packet in packets for came in packet], SIZES)


def test_from_a_generator_that_refills_one_array(where: Where) -> None:
    def refilled() -> Iterator[np.ndarray[Any, Any]]:
        one = np.zeros(MEBIBYTE // 8)
        for number in range(30):
            one[:] = number
            yield one

    firsts = [came[0] for packet in imap(tasks.identity, refilled, **where) for came in packet["RESULT"]]
    assert firsts == list(range(30))


def test_large_parts_of_a_packet_are_reduced(where: Where) -> None:
    arguments = [np.full(MEBIBYTE // 8, float(number)) for number in range(24)]
    packets = map(tasks.identity, arguments, chunksize=2, reducer=tasks.add_up, **where)
    assert sum(float(total[0]) for total in packets) == sum(range(24))


def test_more_results_than_can_be_mapped(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "MAX_MAPPINGS", 5)
    arguments = [array(number, 300_000) for number in range(40)]
    packets = map(tasks.identity, arguments, **where)
    assert len(sealed._mappings) <= 5
    check([came for packet in packets for came in packet], [300_000] * 40)


def test_a_call_that_is_left_early_leaves_nothing_open(pair: Cluster) -> None:
    members = (pair.server, *pair.nodes)
    before = [party.descriptors() for party in members], own_descriptors().total()
    for _ in range(3):
        endless = (np.full(MEBIBYTE // 8, 1.0) for _ in iter(int, 1))
        packets = imap(tasks.identity, endless, **pair.address)
        assert next(packets)["RESULT"][0][0] == 1.0
        packets.close()
    del packets, endless

    def as_before() -> bool:
        gc.collect()
        now = [party.descriptors() for party in members]
        most = [count + 2 for count in before[0]]  # a connection may be kept for the next call
        return (
            all(a <= b for a, b in zip(now, most, strict=True)) and own_descriptors().total() <= before[1] + 2
        )

    wait_until(as_before, what="for descriptors")


def test_a_node_that_is_killed_takes_no_payload_with_it(place: Place) -> None:
    cluster = Cluster(place)
    try:
        first, _ = cluster.start_node(2), cluster.start_node(2)
        server_before = cluster.server.descriptors()
        arguments = [array(number, MEBIBYTE) for number in range(60)]
        packets = imap(tasks.identity, arguments, **cluster.address)
        came = list(next(packets)["RESULT"])
        cluster.end_node(first, signal.SIGKILL)
        came += [result for packet in packets for result in packet["RESULT"]]
        check(came, [MEBIBYTE] * 60)
        wait_until(lambda: cluster.server.descriptors() <= server_before, what="for the server's descriptors")
    finally:
        cluster.close()


@pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")
def test_the_server_never_holds_what_it_passes_on(pair: Cluster) -> None:
    import psutil

    server = psutil.Process(pair.server.pid)
    map(tasks.identity, [array(0, MEBIBYTE)] * 4, **pair.address)
    before_bytes = server.memory_info().rss
    for _ in range(4):
        map(len, [np.zeros(4 * MEBIBYTE)] * 8, **pair.address)
    assert server.memory_info().rss - before_bytes < 16 * MEBIBYTE
