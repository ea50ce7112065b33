"""How much the demands of a job ask for, the first and those while much is left."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler
from achilles.core.scheduler_state import FIRST_TASKS
from tests.unit.core.scheduler_driver import Driver, of

PYTHON = (3, 11)
OTHER = (3, 12)


def first_packets(*nodes: int, alone: bool = False, **job: object) -> list[int]:
    """What a job asks of nodes with so many slots each, in packets of a task for each slot."""
    brain = Scheduler()
    for number, slots in enumerate(nodes):
        brain.handle(ev.NodeJoined(0, number, slots, PYTHON, alone=alone))
    return asked(brain.handle(ev.JobSubmitted(0, 5, 0, 1, **job)))


def asked(commands: list[ev.Command]) -> list[int]:
    return [command.packets for command in commands if isinstance(command, ev.Demand)]


@pytest.mark.parametrize(("alone", "least", "most"), [(False, 1, 1), (True, 1000, 2**20)])
def test_only_who_is_alone_is_given_much_before_anything_is_known(alone: bool, least: int, most: int) -> None:
    (packets,) = first_packets(2, alone=alone)
    assert least <= packets <= most


def test_who_is_alone_gets_half_of_a_long_list_first_so_that_some_run_while_the_rest_is_drawn() -> None:
    assert first_packets(2, alone=True, tasks=10_000) == [2_500]
    brain = Scheduler()
    brain.handle(ev.NodeJoined(0, 1, 2, PYTHON, alone=True))
    brain.handle(ev.JobSubmitted(0, 5, 0, 1, tasks=10_000))
    (packets,) = asked(brain.handle(ev.ParcelArrived(0, 5, 0, 1, 5_000, 100)))
    assert packets >= 2_500


def test_what_is_expected_to_be_short_is_drawn_at_once() -> None:
    def demanded(expected_ns: float) -> list[int]:
        return first_packets(2, alone=True, tasks=10_000, expected_ns=expected_ns)

    assert demanded(10.0) == [FIRST_TASKS // 2]  # all of it, before anything runs
    assert demanded(1_000.0) == [2_500]


def test_who_expects_something_is_not_believed_once_a_task_was_measured() -> None:
    brain = Scheduler()
    brain.handle(ev.NodeJoined(0, 1, 2, PYTHON, alone=True))
    brain.handle(ev.JobSubmitted(0, 5, 0, 1, tasks=100_000, expected_ns=10.0))
    assert asked(brain.handle(ev.ParcelArrived(0, 5, 0, 1, 1_000, 100))) == [FIRST_TASKS // 2]
    brain.handle(ev.ParcelArrived(0, 5, 1, 1, 10, 100, 1, 1_000))
    (packets,) = asked(brain.handle(ev.ResultsArrived(10**10, 1, 5, 0, 1, [(0, 1_000, 0, 10_000_000)])))
    assert packets * 2 < 100


def rest_packets(nodes: int, task_us: int, done_tasks: int = 32) -> int:
    """What the first of some nodes of two slots is asked for once the first of 10,000 tasks were done."""
    brain = Scheduler()
    for number in range(nodes):
        brain.handle(ev.NodeJoined(0, number, 2, PYTHON))
    brain.handle(ev.JobSubmitted(0, 5, 0, 1, tasks=10_000))
    brain.handle(ev.ParcelArrived(0, 5, 0, 0, done_tasks, 100))
    brain.handle(ev.ParcelArrived(0, 5, 1, 0, done_tasks, 100, 1, done_tasks))
    results = ev.ResultsArrived(10**6, 0, 5, 0, 1, [(0, done_tasks, 0, done_tasks * task_us)])
    return asked(brain.handle(results))[0]


def test_a_node_without_another_is_asked_at_once_for_all_that_is_short() -> None:
    assert 2 * rest_packets(1, task_us=1) == 10_000 - 64
    # Of what is not, for no more than ever; nor is any node that has others beside it.
    assert 2 * rest_packets(1, task_us=1_000) == 600
    assert 2 * rest_packets(2, task_us=1) <= 10_000 / 8


@pytest.mark.parametrize(
    ("nodes", "tasks", "packets"),
    [
        ([2], 64, [2]),  # a sixteenth of 32 for each slot
        ([2], 10_000, [16]),  # nodes may come that could have run some of it
        ([2], 20, [1]),
        ([2, 2, 4], 1280, [10, 10, 10]),
        ([1] * 40, 400, [1] * 40),
    ],
)
def test_of_so_many_tasks_each_slot_gets_what_cannot_hold_up_the_end(
    nodes: list[int], tasks: int, packets: list[int]
) -> None:
    assert first_packets(*nodes, tasks=tasks) == packets


def test_only_slots_that_can_run_it_count() -> None:
    brain = Scheduler()
    for number, python in enumerate((PYTHON, OTHER, OTHER)):
        brain.handle(ev.NodeJoined(0, number, 2, python))
    assert asked(brain.handle(ev.JobSubmitted(0, 5, 0, 1, python=PYTHON, tasks=128))) == [4]
    brain.handle(ev.NodeLost(0, 2))
    assert asked(brain.handle(ev.JobSubmitted(0, 6, 0, 1, tasks=128))) == [2, 2]


def test_the_share_is_one_of_what_is_left() -> None:
    brain = Scheduler()
    brain.handle(ev.NodeJoined(0, 1, 1, PYTHON))
    brain.handle(ev.JobSubmitted(0, 5, 0, 1, tasks=160))
    assert asked(brain.handle(ev.ParcelArrived(0, 5, 0, 1, 10, 100))) == [9]


def measured_packets(tasks: int, *, nodes: int = 2) -> int:
    """What a node of two slots, of so many such, is asked for once a task proved to take 1 ms."""
    brain = Scheduler()
    for node in range(1, nodes + 1):
        brain.handle(ev.NodeJoined(0, node, 2, PYTHON))
    brain.handle(ev.JobSubmitted(0, 5, 0, 1, tasks=tasks))
    for parcel in range(nodes):
        brain.handle(ev.ParcelArrived(0, 5, parcel, parcel + 1, 100, 100, 1, 100 * parcel))
    # The first has left room for a second; when it is done, that is for a third.
    brain.handle(ev.ParcelArrived(0, 5, nodes, 1, 100, 100, 1, 100 * nodes))
    (packets, *_) = asked(brain.handle(ev.ResultsArrived(10**8, 1, 5, 0, 1, [(0, 100, 0, 100_000)])))
    return packets


def test_parcels_are_longer_while_much_is_left_to_do() -> None:
    # In packets of 2 ms: 10 ms for each slot where nothing is known, else a twelfth of what is left for it.
    assert measured_packets(tasks=0) == 10
    assert measured_packets(tasks=300 + 240) == 10
    assert measured_packets(tasks=300 + 960) == 20
    assert measured_packets(tasks=10_000_000) == 100


def test_who_shares_a_job_with_nobody_gets_a_third_of_what_is_left() -> None:
    assert measured_packets(tasks=0, nodes=1) == 10
    assert measured_packets(tasks=200 + 30, nodes=1) == 10
    assert measured_packets(tasks=200 + 120, nodes=1) == 20
    assert measured_packets(tasks=10_000_000, nodes=1) == 300


def test_a_slot_without_a_task_is_room_however_long_tasks_are() -> None:
    drive = Driver()
    drive.node(0, cpu_count=4)
    drive.job(1)
    drive.parcel(1, 0, 0, tasks=1)
    drive.results(0, 1, 0, tasks=1, busy_us=10_000_000)
    for parcel in (1, 2, 3):  # one call each, as calls come one by one
        assert of(drive.parcel(1, parcel, 0, tasks=1), ev.Demand), parcel
    assert not of(drive.parcel(1, 4, 0, tasks=1), ev.Demand)
    assert of(drive.results(0, 1, 1, tasks=1, busy_us=10_000_000), ev.Demand)
