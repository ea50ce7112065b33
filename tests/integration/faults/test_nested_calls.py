"""Tasks that call `map` themselves, at the place where they run: also when all its workers do so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

import achilles
from tests.integration.faults.conftest import Place, cluster_of, engine_of
from tests.integration.living import is_running


@pytest.fixture(params=["embedded", "cluster"])
def single(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place with one worker."""
    with engine_of(1) if request.param == "embedded" else cluster_of(tmp_path, 1) as place:
        yield place


def flat(packets):
    return [result for packet in packets for result in packet]


def call_within(call, items):
    """A task that waits for tasks of its own; they say which process ran them."""

    def outer(x):
        inner = achilles.map(lambda y: (os.getpid(), y * 10), range(x), **call)
        return os.getpid(), [result for packet in inner for result in packet]

    # A limit, so that waiting for each other is an error and no hang.
    return flat(achilles.map(outer, items, timeout=20, **call))


def test_all_workers_wait_for_calls_of_their_own(place) -> None:
    found = call_within(place.call, [3] * 8)
    assert [[y for _, y in inner] for _, inner in found] == [[0, 10, 20]] * 8
    workers = {worker for worker, _ in found}
    assert workers <= place.workers()
    # The workers' own share of the cores does it.
    assert not workers & {pid for _, inner in found for pid, _ in inner}


def test_the_only_worker_waits(single) -> None:
    found = call_within(single.call, [3, 4])
    assert [[y for _, y in inner] for _, inner in found] == [[0, 10, 20], [0, 10, 20, 30]]


def test_calls_within_calls_within_calls(single) -> None:
    call = single.call

    def deeper(depth):
        if not depth:
            return 1
        inner = achilles.map(deeper, [depth - 1] * 2, **call)
        return sum(result for packet in inner for result in packet)

    assert flat(achilles.map(deeper, [3], **call)) == [8]


def test_a_stream_within_a_stream(single) -> None:
    call = single.call

    def outer(x):
        return sum(y for packet in achilles.imap_unordered(abs, range(x), **call) for y in packet["RESULT"])

    found = [y for packet in achilles.imap(outer, iter(range(5)), **call) for y in packet["RESULT"]]
    assert found == [0, 0, 1, 3, 6]


def test_modules_of_the_caller_reach_the_innermost_worker(single, tmp_path, monkeypatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "of_the_caller.py").write_text("def triple(x):\n    return 3 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    import of_the_caller

    call = single.call

    def outer(x):
        return achilles.map(of_the_caller.triple, [x], **call)

    assert flat(achilles.map(outer, [1, 2], **call)) == [[[3]], [[6]]]


def test_a_task_may_call_another_cluster(single, cluster) -> None:
    call = cluster.call
    node = cluster.agent.pid

    def outer(x):
        return achilles.map(lambda y: os.getppid(), [x], **call)

    assert flat(achilles.map(outer, [1, 2], **single.call)) == [[[node]], [[node]]]


def test_what_nested_calls_started_ends_with_the_worker(single, wait) -> None:
    (worker,) = {worker for worker, _ in call_within(single.call, [1])}
    below = psutil.Process(worker).children(recursive=True)
    assert below
    os.kill(worker, 9)
    wait(lambda: not any(map(is_running, below)))


def nested(handle, used, index):
    if used:
        assert handle.value[index] == index
    own = achilles.Broadcast([7] * 100_000)
    calls = achilles.map(lambda number: handle.value[number] + own.value[number], [index, index + 1])
    return flat(calls)


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_broadcast_object_is_passed_on_to_calls_of_a_task(place, used, size) -> None:
    handle = achilles.Broadcast(list(range(size)))
    found = flat(achilles.map(partial(nested, handle, used), [3, 4], timeout=30, **place.call))
    assert found == [[10, 11], [11, 12]]
