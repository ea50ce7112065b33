"""What was always short is long this time, and much of it was sent at once: others get it all the same."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from achilles import imap, map
from achilles.engines import drawing, task_times
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.achilles_controller import Controller
from tests.integration.cluster.parties import DEADLINE_S, Cluster, Place, wait_until

Item = tuple[int, Path | None, int]
ITEMS = 400


def meet(item: Item) -> tuple[int, int]:
    """Number and process; at once, or once so many workers were here."""
    number, meeting_place, workers = item
    if meeting_place is not None:
        (meeting_place / str(os.getpid())).touch()
        deadline_s = time.monotonic() + DEADLINE_S
        while len(list(meeting_place.iterdir())) < workers:
            assert time.monotonic() < deadline_s, "somebody was given nothing"
            time.sleep(0.005)
    return number, os.getpid()


def quick() -> list[Item]:
    return [(number, None, 0) for number in range(ITEMS)]


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[wire.Message]:
    """What servers said to this process."""
    heard: list[wire.Message] = []
    received = Controller._received

    def noted(controller: Controller, message: wire.Message, chunks: list[Any]) -> None:
        heard.append(message)
        received(controller, message, chunks)

    monkeypatch.setattr(Controller, "_received", noted)
    return heard


@pytest.fixture
def cluster(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A server with one node of two workers, to which the function was quick."""
    cluster = Cluster(place)
    try:
        cluster.start_node(2)
        map(meet, quick(), **cluster.address)
        assert task_times.of_program.expected_ns(meet) is not None
        # Beside other tests that may have taken any time.
        monkeypatch.setattr(task_times.of_program, "expected_ns", lambda _: 500.0)
        # Nor does a caller that has to wait for its core send what it has drawn so far.
        monkeypatch.setattr(drawing, "DRAW_NS", 10_000_000_000)
        yield cluster
    finally:
        cluster.close()


def mapped(**options: Any) -> list[tuple[int, int]]:
    return [one for packet in map(meet, **options) for one in packet]


def streamed(**options: Any) -> list[tuple[int, int]]:
    return [one for packet in imap(meet, **options) for one in packet["RESULT"]]


@pytest.mark.parametrize("call", [mapped, streamed])
def test_a_node_that_comes_later_gets_a_share(
    cluster: Cluster, frames: list[wire.Message], tmp_path: Path, call: Callable[..., Any]
) -> None:
    found: list[tuple[int, int]] = []
    # Nobody gets on before both workers of both nodes, and of a third, are at it.
    args = [(number, tmp_path, 6) for number in range(ITEMS)]
    caller = threading.Thread(target=lambda: found.extend(call(args=args, **cluster.address)))
    caller.start()
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    for _ in range(2):
        cluster.start_node(2)
    caller.join(DEADLINE_S)
    assert not caller.is_alive()
    assert [number for number, _ in found] == list(range(ITEMS))
    assert {pid for _, pid in found} == {int(path.name) for path in tmp_path.iterdir()}
    resent = [frame for frame in frames if isinstance(frame, wire.Resend)]
    said = [frame for frame in frames if not isinstance(frame, wire.Fetch)]
    assert [frame.redraw for frame in resent].count(True) == 1, said
    # What it was drawn again in is as short as of a function that nobody knows.
    assert all(not frame.redraw for frame in resent[1:])


def test_all_of_a_short_list_is_sent_at_once_to_who_is_alone(
    cluster: Cluster, frames: list[wire.Message]
) -> None:
    def asked_for_nothing() -> bool:
        del frames[:]
        assert [number for number, _ in mapped(args=quick(), **cluster.address)] == list(range(ITEMS))
        return not any(isinstance(frame, wire.Demand | wire.Resend) for frame in frames)

    # Results of the first of it may be back before a caller that had to wait for its core has drawn the rest.
    wait_until(asked_for_nothing, what="for a list that is sent before any of its results is there")
