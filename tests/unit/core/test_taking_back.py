"""Parcels that wait at one node while another is idle, and nodes that leave politely."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core import slots_events as sl
from achilles.core.slots import Slots
from tests.unit.core.scheduler_driver import Driver, of


@pytest.fixture
def stocked() -> Driver:
    """One node with two long parcels of a job whose input has ended."""
    drive = Driver()
    drive.node(0)
    drive.job(1)
    for parcel in (0, 1):
        drive.parcel(1, parcel, 0)
    drive.hear(ev.InputEnded, 1)
    return drive


def test_an_idle_newcomer_takes_back_what_came_last(stocked: Driver) -> None:
    assert of(stocked.node(1), ev.TakeBack) == [ev.TakeBack(0, 1, 1, 1)]


def test_a_returned_parcel_goes_to_the_idle_node_and_costs_no_attempt(stocked: Driver) -> None:
    stocked.node(1)
    commands = stocked.hear(ev.ParcelReturned, 0, 1, 1, 1, True)
    assert of(commands, ev.Resend) == [ev.Resend(1, 1, 1, 2, 1)]
    assert stocked.brain.jobs[1].parcels[1].losses == 0


def test_a_parcel_that_was_begun_stays_and_is_not_asked_for_again(stocked: Driver) -> None:
    stocked.node(1)
    commands = stocked.hear(ev.ParcelReturned, 0, 1, 1, 1, False)
    assert of(commands, ev.TakeBack) == [ev.TakeBack(0, 1, 0, 1)]
    commands = stocked.hear(ev.ParcelReturned, 0, 1, 0, 1, False)
    assert of(commands, ev.TakeBack, ev.Resend) == []


def test_results_that_cross_a_take_back_still_count(stocked: Driver) -> None:
    stocked.node(1)
    assert of(stocked.results(0, 1, 1), ev.ForwardResults)
    assert of(stocked.hear(ev.ParcelReturned, 0, 1, 1, 1, True), ev.Resend) == []


def test_nothing_is_taken_from_a_node_that_is_nearly_done() -> None:
    drive = Driver()
    drive.node(0)
    drive.job(1)
    drive.parcel(1, 0, 0)
    drive.results(0, 1, 0, busy_us=20)
    for parcel in (1, 2):
        drive.parcel(1, parcel, 0)
    drive.hear(ev.InputEnded, 1)
    assert of(drive.node(1), ev.TakeBack) == []


def test_nothing_is_taken_for_a_node_of_another_python() -> None:
    drive = Driver()
    drive.node(0)
    drive.job(1, python=(3, 11))
    for parcel in (0, 1):
        drive.parcel(1, parcel, 0)
    drive.hear(ev.InputEnded, 1)
    assert of(drive.node(1, python=(3, 12)), ev.TakeBack) == []


def crew(parcels: int) -> Slots:
    """One worker, busy with the first of so many parcels of one task."""
    brain = Slots()
    brain.handle(sl.WorkerStarted(0, 0))
    brain.handle(sl.JobIntroduced(0, 1))
    for parcel in range(parcels):
        brain.handle(sl.ParcelReceived(0, 1, parcel, 1, parcel, [1], 1))
    return brain


def test_a_waiting_parcel_is_given_back_and_forgotten() -> None:
    brain = crew(2)
    commands = brain.handle(sl.ParcelAskedBack(0, (1, 1, 1)))
    assert sl.ReturnParcel((1, 1, 1), True) in commands
    assert sl.DropParcel((1, 1, 1)) in commands
    assert set(brain.parcels) == {(1, 0, 1)}
    assert not brain.jobs[1].waiting


def test_a_begun_parcel_is_kept() -> None:
    brain = crew(1)
    assert brain.handle(sl.ParcelAskedBack(0, (1, 0, 1))) == [sl.ReturnParcel((1, 0, 1), False)]
    assert set(brain.parcels) == {(1, 0, 1)}


def test_draining_gives_back_all_that_waits_and_finishes_the_rest() -> None:
    brain = crew(3)
    returned = [c.key[1] for c in brain.handle(sl.DrainBegan(0)) if isinstance(c, sl.ReturnParcel)]
    assert returned == [1, 2]
    piece = brain.workers[0].pieces[0].piece
    brain.handle(sl.PieceFinished(0, 0, piece, 0, 1000, 10))
    assert not brain.parcels
