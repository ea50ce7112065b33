"""Nodes whose slots single calls have, which the scheduler learns once they have had them for a while."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.errors import ProtocolError
from tests.unit.core.scheduler_driver import Driver, of


@pytest.fixture
def drive() -> Driver:
    """Two nodes of one slot, and a job that has one task at the first of them, while the other is idle."""
    found = Driver()
    found.node(0, cpu_count=1)
    found.job(1)
    found.parcel(1, 0, 0, tasks=1)
    found.hear(ev.InputEnded, 1)
    assert of(found.node(1, cpu_count=1), ev.TakeBack) == []  # as far as anyone knows it runs
    return found


def test_what_may_wait_for_a_call_goes_to_an_idle_node(drive: Driver) -> None:
    assert of(drive.hear(ev.SlotsLent, 0, 1), ev.TakeBack) == [ev.TakeBack(0, 1, 0, 1)]
    commands = drive.hear(ev.ParcelReturned, 0, 1, 0, 1, True)
    assert of(commands, ev.Resend) == [ev.Resend(1, 1, 0, 2, 1)]
    assert drive.brain.jobs[1].parcels[0].losses == 0


def test_what_has_begun_stays_and_is_not_asked_for_again(drive: Driver) -> None:
    drive.hear(ev.SlotsLent, 0, 1)
    assert drive.hear(ev.ParcelReturned, 0, 1, 0, 1, False) == []
    for slots in (0, 1):
        assert of(drive.hear(ev.SlotsLent, 0, slots), ev.TakeBack) == []
    assert of(drive.results(0, 1, 0, tasks=1), ev.FinishJob)


def test_it_goes_to_a_node_that_is_busy_as_well() -> None:
    drive = Driver()
    for node in (0, 1):
        drive.node(node, cpu_count=1)
    drive.job(1)
    for parcel in range(4):
        drive.parcel(1, parcel, parcel % 2, tasks=1)
    assert of(drive.hear(ev.SlotsLent, 0, 1), ev.TakeBack) == [ev.TakeBack(0, 1, n, 1) for n in (0, 2)]
    commands = drive.hear(ev.ParcelReturned, 0, 1, 0, 1, True)
    commands += drive.hear(ev.ParcelReturned, 0, 1, 2, 1, True)
    commands += drive.results(1, 1, 1, tasks=1)
    assert {command.node for command in of(commands, ev.Demand, ev.Resend)} == {1}
    assert of(commands, ev.Resend)


def test_it_stays_where_nobody_else_could_run_it() -> None:
    drive = Driver()
    drive.node(0, cpu_count=1)
    drive.node(1, cpu_count=1, python=(3, 12))
    drive.job(1, python=(3, 11))
    drive.parcel(1, 0, 0, tasks=1)
    assert of(drive.hear(ev.SlotsLent, 0, 1), ev.TakeBack) == []


@pytest.mark.parametrize("priority", [0, 7])
def test_nothing_is_asked_for_while_calls_have_all_slots(priority: int) -> None:
    drive = Driver()
    drive.node(0, cpu_count=2)
    drive.hear(ev.SlotsLent, 0, 2)
    drive.job(1)
    assert drive.job(2, priority=priority) == []
    commands = drive.hear(ev.SlotsLent, 0, 1)
    assert {command.job for command in of(commands, ev.Demand)} == {1, 2}


def test_what_was_on_its_way_goes_elsewhere() -> None:
    drive = Driver()
    drive.node(0, cpu_count=1)
    assert of(drive.job(1), ev.Demand)
    drive.hear(ev.SlotsLent, 0, 1)
    assert of(drive.parcel(1, 0, 0, tasks=1), ev.SendParcel) == []
    assert of(drive.node(1, cpu_count=1), ev.Resend) == [ev.Resend(1, 1, 0, 2, 1)]


def test_nothing_goes_to_and_fro_between_nodes_some_of_whose_slots_have_calls() -> None:
    drive = Driver()
    for node in (0, 1):
        drive.node(node, cpu_count=2)
        drive.hear(ev.SlotsLent, node, 1)
    drive.job(1, slots=2)
    drive.parcel(1, 0, 0, tasks=1)
    drive.hear(ev.InputEnded, 1)
    for node in (0, 1, 0):
        assert of(drive.hear(ev.SlotsLent, node, 1), ev.TakeBack) == []
    assert of(drive.hear(ev.SlotsLent, 0, 2), ev.TakeBack) == []  # nor could the other one begin it
    assert of(drive.hear(ev.SlotsLent, 1, 0), ev.TakeBack) == [ev.TakeBack(0, 1, 0, 1)]


def test_single_calls_are_placed_elsewhere() -> None:
    drive = Driver()
    for node in (0, 1):
        drive.node(node, cpu_count=1)
    drive.job(1)
    drive.hear(ev.SlotsLent, 0, 1)
    assert of(drive.hear(ev.PlaceWanted, 1, -1), ev.PlaceCalls) == [ev.PlaceCalls(1, 1)]


def test_more_than_there_are_is_refused(drive: Driver) -> None:
    with pytest.raises(ProtocolError, match="2 slots of a node that has 1"):
        drive.hear(ev.SlotsLent, 0, 2)
    assert drive.hear(ev.SlotsLent, 9, 1) == []  # it has left
