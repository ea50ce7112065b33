"""Parcels that come with a job before anybody asked: how much, for whom, and what becomes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from achilles.core import scheduler_events as ev
from achilles.core.promised import MAX_OFFERS, MAX_PROMISED, PARCELS_EACH, Promised, first_parcels, offers_of
from achilles.core.scheduler import STALE_NS
from tests.unit.core.scheduler_driver import Driver, of


@pytest.fixture
def drive() -> Driver:
    return Driver()


def asked(commands: list[ev.Command]) -> list[int]:
    return [command.node for command in of(commands, ev.Demand)]


@given(
    slots=st.lists(st.integers(1, 64), min_size=1, max_size=MAX_OFFERS),
    tasks=st.integers(0, 100_000),
    chunksize=st.integers(1, 50),
    task_slots=st.integers(1, 8),
)
def test_no_node_is_sent_more_than_it_would_be_asked_for(
    slots: list[int], tasks: int, chunksize: int, task_slots: int
) -> None:
    sent = first_parcels(
        list(enumerate(slots)), tasks=tasks, chunksize=chunksize, task_slots=task_slots, slots=sum(slots)
    )
    drive = Driver()
    for number, cpu_count in enumerate(slots):
        drive.node(number, cpu_count)
    demands = of(drive.job(7, tasks=tasks, chunksize=chunksize, slots=task_slots), ev.Demand)
    first = {demand.node: (demand.cpu_count, demand.packets) for demand in demands}
    for node, cpu_count, packets in sent:
        assert cpu_count == first[node][0] and 1 <= packets <= first[node][1]
    nodes = [node for node, _, _ in sent]
    assert all(nodes.count(node) <= PARCELS_EACH for node in nodes)
    # All nodes come before any comes a second time.
    assert (
        nodes[: len(set(nodes))]
        == [node for node, count in enumerate(slots) if count >= task_slots][: len(set(nodes))]
    )


def test_few_tasks_are_not_promised_to_more_nodes_than_get_some() -> None:
    sent = first_parcels([(0, 2), (1, 2), (2, 2)], tasks=3, chunksize=1, task_slots=1, slots=6)
    assert sent == [(0, 2, 1), (1, 2, 1)]


@pytest.mark.parametrize(
    ("nodes", "expected_ns", "packets"),
    [
        ([2], 0.0, [16, 16]),
        ([2], 100.0, [16, 4_984]),  # all that is left
        ([2], 100_000.0, [16, 300]),  # no more than 30 ms for each slot
        ([2], 1e9, [16, 16]),
        ([2, 2], 100.0, [16, 16, 621, 544]),  # a quarter of an even share of what is left each time
        ([2, 6], 1e9, [16, 16, 16, 16]),
    ],
)
def test_what_waits_behind_the_first_parcels_is_as_long_as_is_expected_of_it(
    nodes: list[int], expected_ns: float, packets: list[int]
) -> None:
    sent = first_parcels(
        list(enumerate(nodes)),
        tasks=10_000,
        chunksize=1,
        task_slots=1,
        slots=sum(nodes),
        expected_ns=expected_ns,
    )
    assert [each for _, _, each in sent] == packets


def test_the_scheduler_asks_for_as_much_where_nothing_was_promised(drive: Driver) -> None:
    drive.node(0)
    (first,) = of(drive.job(7, tasks=10_000, expected_ns=100.0), ev.Demand)
    (second,) = of(drive.parcel(7, 0, 0, tasks=32), ev.Demand)
    assert [first.packets, second.packets] == [16, 4_984]


def test_a_few_nodes_are_offered_and_none_that_leaves(drive: Driver) -> None:
    for number in range(12):
        drive.node(number, number + 1)
    drive.hear(ev.NodeDraining, 2)
    offers = offers_of(drive.brain.nodes.values())
    assert offers == ((0, 1), (1, 2), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9))
    assert len(offers) * PARCELS_EACH == MAX_PROMISED


def test_a_promise_is_counted_on_once() -> None:
    promised = Promised((4, 5, 4))
    assert [promised.take(node) for node in (4, 4, 4, 5, 6)] == [True, True, False, True, False]


def test_what_is_promised_is_not_asked_for(drive: Driver) -> None:
    drive.node(0)
    drive.node(1)
    assert asked(drive.job(7, promised=(0, 0))) == [1]
    assert not asked(drive.parcel(7, 0, 0))
    commands = drive.parcel(7, 1, 0)
    assert [(sent.node, sent.parcel, sent.attempt) for sent in of(commands, ev.SendParcel)] == [(0, 1, 1)]
    assert not of(commands, ev.Resend)
    # From there on it is asked as ever.
    assert asked(drive.results(0, 7, 0)) == [0]


def test_a_promise_holds_room_as_a_demand_does(drive: Driver) -> None:
    drive.node(0)
    drive.job(7, promised=(0, 0))
    assert drive.brain.nodes[0].reserved_ns > 0
    assert not drive.brain.nodes[0].is_idle


def test_for_a_node_that_is_gone_it_is_asked_for_again(drive: Driver) -> None:
    drive.node(0)
    drive.node(1)
    drive.hear(ev.NodeLost, 0)
    drive.job(7, promised=(0, 1, 0, 1))
    resent = []
    for parcel, node in enumerate((0, 1, 0, 1)):
        resent += of(drive.parcel(7, parcel, node), ev.Resend)
    assert {(again.parcel, again.node, again.attempt) for again in resent} <= {(0, 1, 2), (2, 1, 2)}
    assert resent, "a node with room takes what nobody else can"
    assert drive.brain.jobs[7].unasked == 0


def test_a_node_that_is_lost_in_between_takes_none_along(drive: Driver) -> None:
    drive.node(0)
    drive.job(7, promised=(0, 0))
    drive.hear(ev.NodeLost, 0)
    for parcel in range(2):
        assert not of(drive.parcel(7, parcel, 0), ev.SendParcel)
    commands = drive.node(1)
    assert [(again.parcel, again.node) for again in of(commands, ev.Resend)] == [(0, 1), (1, 1)]
    for again in of(commands, ev.Resend):
        drive.parcel(7, again.parcel, 1, attempt=again.attempt)
        drive.results(1, 7, again.parcel, attempt=again.attempt)
    assert of(drive.hear(ev.InputEnded, 7), ev.FinishJob)


def test_what_a_full_node_was_promised_waits_for_its_turn(drive: Driver) -> None:
    drive.node(0)
    for other in range(8):  # as many as a full node takes
        drive.job(other)
        drive.parcel(other, 0, 0)
        drive.parcel(other, 1, 0)
    assert not asked(drive.job(9, promised=(0, 0)))
    for parcel in range(2):
        commands = drive.parcel(9, parcel, 0)
        assert not of(commands, ev.SendParcel, ev.Resend)
    again = []
    for other in range(8):
        drive.hear(ev.InputEnded, other)
        again += of(drive.hear(ev.JobCancelled, other), ev.Resend)
    assert [(each.parcel, each.attempt) for each in again] == [(0, 2), (1, 2)]


def test_a_job_gets_past_neither_its_patterns_nor_a_priority(drive: Driver) -> None:
    drive.hear(ev.NodeJoined, 0, 2, (3, 11), names=("alice",))
    drive.hear(ev.NodeJoined, 1, 2, (3, 11), names=("bob",))
    drive.job(7, nodes=("bob",), promised=(0,))
    assert not of(drive.parcel(7, 0, 0), ev.SendParcel), "for a node that may not have it"
    assert not of(drive.hear(ev.JobCancelled, 7), ev.SendParcel)
    drive.job(8, priority=5)
    for parcel in range(2):
        for node in (0, 1):
            drive.parcel(8, 2 * parcel + node, node, tasks=1_000)
    drive.job(9, priority=-5, promised=(0, 0))
    assert not of(drive.parcel(9, 0, 0), ev.SendParcel), "though what comes before it fills the node"


def test_of_another_python_none_is_run(drive: Driver) -> None:
    drive.node(0, python=(3, 12))
    drive.node(1)
    drive.job(7, python=(3, 11), promised=(0, 1))
    commands = drive.parcel(7, 0, 0) + drive.parcel(7, 1, 1)
    assert [(sent.node, sent.parcel) for sent in of(commands, ev.SendParcel)] == [(1, 1)]
    assert [(again.node, again.parcel) for again in of(commands, ev.Resend)] == [(1, 0)]


def test_one_that_is_long_in_coming_lets_others_have_the_room(drive: Driver) -> None:
    drive.node(0, 1)
    drive.job(7, promised=(0, 0))
    drive.now_ns += STALE_NS
    drive.hear(ev.TimePassed)
    assert drive.brain.nodes[0].reserved_ns == 0
    commands = drive.parcel(7, 0, 0)
    assert of(commands, ev.SendParcel) and not asked(commands)


def test_the_end_of_the_input_ends_what_is_expected(drive: Driver) -> None:
    drive.node(0)
    drive.job(7, promised=(0, 0))
    drive.parcel(7, 0, 0)
    drive.hear(ev.InputEnded, 7)
    assert drive.brain.nodes[0].reserved_ns == 0
    assert of(drive.results(0, 7, 0), ev.FinishJob)
