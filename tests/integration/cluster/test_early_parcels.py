"""The first parcels of a job come with it, before the server has asked; and nothing else is different."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from achilles import imap, imap_unordered, map
from achilles.engines.cluster import ClusterEngine, close_idle_connections
from achilles.engines.offers import Offers
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.achilles_controller import Controller
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import SERVER, Cluster, Place, wait_until

OLD_SERVER = (
    "from achilles.lineReceiver.server import AchillesServer as S\nS.offers = lambda self: ()\n" + SERVER
)


class Frames:
    """What this process says and hears, in order."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen: list[wire.Message] = []
        send, received = Controller.send, Controller._received

        def noted(controller: Controller, message: wire.Message, *args: Any, **named: Any) -> None:
            self.seen.append(message)
            send(controller, message, *args, **named)

        def heard(controller: Controller, message: wire.Message, chunks: list[Any]) -> None:
            self.seen.append(message)
            received(controller, message, chunks)

        patch.setattr(Controller, "send", noted)
        patch.setattr(Controller, "_received", heard)

    def of(self, *kinds: type) -> list[Any]:
        return [frame for frame in self.seen if isinstance(frame, kinds)]

    def first(self) -> type:
        """Which came first, a parcel or a demand."""
        return type(self.of(wire.Parcel, wire.Demand)[0])


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> Frames:
    return Frames(monkeypatch)


def flat(packets: list[list[Any]]) -> list[Any]:
    return [value for packet in packets for value in packet]


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 8, 40, 100, 1_000, 10_000])
@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_results_are_the_same_and_in_order(pair: Cluster, length: int, chunksize: int | None) -> None:
    args = list(range(length))
    assert flat(map(tasks.negate, args, chunksize=chunksize, **pair.address)) == [-each for each in args]


def test_packets_are_cut_for_the_nodes_that_they_were_sent_to(pair: Cluster) -> None:
    packets = list(imap(tasks.negate, range(200), chunksize=2, **pair.address))
    assert {len(packet["RESULT"]) for packet in packets[:-1]} <= {2, 6}
    assert [packet["ARGS_COUNTER"] for packet in packets] == list(
        itertools.accumulate([len(packet["RESULT"]) for packet in packets[:-1]], initial=0)
    )


def test_nothing_is_asked_before_the_first_parcels(pair: Cluster, frames: Frames) -> None:
    assert flat(map(tasks.negate, list(range(100)), **pair.address)) == [-each for each in range(100)]
    (submit,) = frames.of(wire.Submit)
    assert sorted(set(submit.promised)) == [0, 1] and len(submit.promised) == 4
    assert frames.first() is wire.Parcel
    assert [parcel.node for parcel in frames.of(wire.Parcel)[:4]] == list(submit.promised)


def test_what_ends_within_them_answers_no_demand(pair: Cluster, frames: Frames) -> None:
    assert flat(map(tasks.negate, [1, 2, 3], **pair.address)) == [-1, -2, -3]
    promised = frames.of(wire.Submit)[0].promised
    assert [parcel.node for parcel in frames.of(wire.Parcel)] == list(promised)
    assert not frames.of(wire.Resend)


def test_a_list_of_lists_and_a_reducer(pair: Cluster) -> None:
    lists = [[1, 2, 3], [], [4], [5, 6], [7]]
    assert map(tasks.negate, lists, **pair.address) == [[-each for each in one] for one in lists]
    sums = map(tasks.square, list(range(50)), reducer=tasks.add_up, **pair.address)
    assert sum(sums) == sum(each * each for each in range(50))


@pytest.mark.parametrize("call", [imap, imap_unordered])
def test_of_a_generator_that_waits_for_its_results(pair: Cluster, call: Callable[..., Any]) -> None:
    """Each item but the first is made when the results of those before it are there."""
    came: list[int] = []

    def one_by_one() -> Any:
        for number in range(6):
            wait_until(lambda number=number: len(came) >= number, what="for earlier results")
            yield number

    for packet in call(tasks.square, one_by_one(), slots=3, **pair.address):
        came.extend(packet["RESULT"])
    assert sorted(came) == [number * number for number in range(6)]


def test_names_of_nodes_are_left_to_the_server(pair: Cluster, frames: Frames) -> None:
    found = flat(map(tasks.parent_and_item, list(range(30)), nodes=("#1",), **pair.address))
    assert {pid for pid, _ in found} == {pair.nodes[1].pid} or {pid for pid, _ in found} == {
        pair.nodes[0].pid
    }
    assert frames.of(wire.Submit)[0].promised == ()


def test_a_node_that_is_too_small_gets_none(pair: Cluster, frames: Frames) -> None:
    found = flat(map(tasks.parent_and_item, list(range(30)), slots=2, **pair.address))
    assert [item for _, item in found] == list(range(30))
    assert len({pid for pid, _ in found}) == 1
    assert len(frames.of(wire.Submit)[0].promised) == 2 and not frames.of(wire.Resend)


def test_calls_at_once(pair: Cluster) -> None:
    wrong: list[Any] = []

    def call(first: int) -> None:
        for length in range(1, 30):
            args = list(range(first, first + length))
            if flat(map(tasks.negate, args, priority=first % 3, **pair.address)) != [-each for each in args]:
                wrong.append(args)

    threads = [threading.Thread(target=call, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_little_memory(pair: Cluster) -> None:
    args = [bytes([number]) * 100_000 for number in range(60)]
    assert flat(map(tasks.identity, args, memory_budget="1M", **pair.address)) == args


@pytest.mark.parametrize("old", ["server", "controller"])
def test_with_a_peer_that_does_not_know_of_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, frames: Frames, old: str
) -> None:
    cluster = Cluster(place, server_code=OLD_SERVER if old == "server" else SERVER)
    try:
        cluster.start_node(2)
        if old == "controller":
            monkeypatch.setattr(Offers, "taken_by", lambda self, job: [])
        assert flat(map(tasks.negate, list(range(100)), **cluster.address)) == [-each for each in range(100)]
        assert frames.first() is wire.Demand
    finally:
        close_idle_connections()
        cluster.close()


def test_an_offered_node_that_is_gone_by_then(moving: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    first = moving.start_node(2)
    assert flat(map(tasks.negate, [1, 2], **moving.address)) == [-1, -2]
    hear = ClusterEngine.frame_received

    def deaf(engine: ClusterEngine, message: wire.Message, chunks: list[Any]) -> None:
        if not isinstance(message, wire.Capacity):
            hear(engine, message, chunks)

    monkeypatch.setattr(ClusterEngine, "frame_received", deaf)
    moving.start_node(1)
    moving.end_node(first)
    frames = Frames(monkeypatch)
    assert flat(map(tasks.negate, list(range(100)), **moving.address)) == [-each for each in range(100)]
    assert set(frames.of(wire.Submit)[0].promised) == {0}, "it was to count on the one that is gone"
    close_idle_connections()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_the_server_dies_between_the_job_and_its_parcels(
    moving: Cluster, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    moving.start_node(2)
    close_idle_connections()  # one that was idle is made again only once
    send, dies = Controller.send, [True]

    def cut(controller: Controller, message: wire.Message, *args: Any, **named: Any) -> None:
        if isinstance(message, wire.Parcel) and dies:
            dies.clear()
            moving.restart_server(number)
        send(controller, message, *args, **named)

    monkeypatch.setattr(Controller, "send", cut)
    assert flat(map(tasks.negate, list(range(100)), **moving.address)) == [-each for each in range(100)]
    assert not dies
    close_idle_connections()
