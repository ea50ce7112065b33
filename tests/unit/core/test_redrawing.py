"""What was sent at once since tasks were expected to be short, and is drawn again as they are not."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import scheduler_events as ev
from achilles.core import submission_events as sub
from achilles.core.submission import Submission
from achilles.errors import ProtocolError
from tests.unit.core.scheduler_driver import Driver, of


@pytest.fixture
def drive() -> Driver:
    """One node has begun a parcel of 4 and has the other 96 tasks in a second one."""
    driver = Driver()
    driver.node(0)
    driver.job(7, tasks=100, promised=(0, 0), expected_ns=200.0)
    driver.parcel(7, 0, 0, tasks=4)
    driver.hear(ev.ParcelArrived, 7, 1, 0, 96, 100, 1, 4)
    driver.hear(ev.InputEnded, 7)
    return driver


def test_the_rest_of_a_job_is_drawn_again_once_another_node_could_run_some_of_it(drive: Driver) -> None:
    (taken,) = of(drive.node(1), ev.TakeBack)
    assert (taken.node, taken.parcel) == (0, 1)
    commands = drive.hear(ev.ParcelReturned, 0, 7, 1, 1, True)
    again, *demands = of(commands, ev.Resend, ev.Demand)
    assert again.redraw and (again.parcel, again.controller) == (1, 7)
    # After that, as of a job that nobody knows: a sixteenth of an even share for each slot.
    assert {demand.node: demand.packets for demand in demands} == {0: 1, 1: 1}
    commands = drive.hear(ev.ParcelArrived, 7, 1, 1, 2, 100, 1, 4)
    assert [(sent.node, sent.parcel, sent.attempt) for sent in of(commands, ev.SendParcel)] == [(1, 1, 1)]
    assert not of(drive.hear(ev.InputEnded, 7), ev.FinishJob)
    drive.results(0, 7, 0, tasks=4)
    finished = drive.hear(ev.ResultsArrived, 1, 7, 1, 1, [(4, 2, 0, 2_000)])
    assert of(finished, ev.FinishJob)


def test_nothing_is_drawn_again_that_was_begun_or_is_not_the_last(drive: Driver) -> None:
    drive.node(1)
    assert not of(drive.hear(ev.ParcelReturned, 0, 7, 1, 1, False), ev.Resend)
    drive.job(8, tasks=10, promised=(0, 0), expected_ns=200.0)
    drive.parcel(8, 0, 0, tasks=4)
    commands = drive.hear(ev.NodeLost, 0)
    assert not any(again.redraw for again in of(commands, ev.Resend)), "nobody knows whether it was begun"


def test_who_expected_nothing_is_asked_for_the_same_again() -> None:
    driver = Driver()
    driver.node(0)
    driver.job(7, tasks=8, promised=(0, 0))
    driver.parcel(7, 0, 0, tasks=4)
    driver.hear(ev.ParcelArrived, 7, 1, 0, 4, 100, 1, 4)
    driver.hear(ev.InputEnded, 7)
    driver.node(1)
    (again,) = of(driver.hear(ev.ParcelReturned, 0, 7, 1, 1, True), ev.Resend)
    assert (again.redraw, again.attempt, again.node) == (False, 2, 1)


def test_parcels_weigh_what_they_do_once_one_task_was_measured(drive: Driver) -> None:
    node = drive.brain.nodes[0]
    assert node.work_ns >= 96 * 10_000_000
    drive.results(0, 7, 0, tasks=4, busy_us=4)
    assert node.work_ns < 96 * 10_000


def submission(expected_ns: float | None = 200.0, **options: Any) -> Submission:
    """One that has sent 4 tasks, and then all the other 96."""
    brain = Submission(1, ordered=True, budget_bytes=2**20, expected_ns=expected_ns, **options)
    brain.handle(sub.InputStarted(False, 100, None))
    for tasks, packets in ((4, 2), (96, 48)):
        brain.handle(sub.Granted(0, 2, packets))
        brain.handle(sub.ParcelDrawn(0, tasks, packets, 2, tasks * 10, tasks))
    assert brain.handle(sub.InputEnded()) == [sub.EndInput()]
    return brain


def test_the_input_begins_again_where_the_last_parcel_did() -> None:
    brain = submission()
    assert brain.handle(sub.ResendAsked(1, 1, 0, redraw=True)) == [sub.Redraw(1, 4)]
    assert (brain.tasks_drawn, brain.packets_drawn, brain.next_parcel()) == (4, 2, (1, 4))
    assert brain.plan() is None
    brain.handle(sub.Granted(1, 2, 1))
    plan = brain.plan()
    assert plan is not None and (plan.node, plan.packets, plan.packet_tasks) == (1, 1, 2)
    assert brain.handle(sub.ParcelDrawn(1, 2, 1, 2, 20, 2)) == [sub.SendParcel(1, 1, 1)]
    assert brain.handle(sub.InputEnded()) == [sub.EndInput()]
    brain.handle(sub.ResultsArrived(0, 1, [(0, 4, 0, 4)], 40))
    commands = brain.handle(sub.ResultsArrived(1, 1, [(4, 2, 0, 2)], 20))
    assert commands[-2:] == [sub.Deliver(1, 4, 2, 1), sub.Complete()]


def test_room_is_what_it_was_before() -> None:
    brain = submission()
    before = brain._bytes, brain._waiting_tasks, brain._unread_tasks, brain._undelivered
    brain.handle(sub.ResendAsked(1, 1, 0, redraw=True))
    brain.handle(sub.Granted(1, 2, 48))
    brain.handle(sub.ParcelDrawn(1, 96, 48, 2, 960, 96))
    assert (brain._bytes, brain._waiting_tasks, brain._unread_tasks, brain._undelivered) == before


@pytest.mark.parametrize("parcel", [0, 2])
def test_only_the_last_can_be_drawn_again(parcel: int) -> None:
    with pytest.raises(ProtocolError):
        submission().handle(sub.ResendAsked(parcel, 1, 0, redraw=True))


def test_nothing_can_be_drawn_again_twice_or_when_it_is_done_or_where_nothing_was_expected() -> None:
    twice = submission()
    twice.handle(sub.ResendAsked(1, 1, 0, redraw=True))
    twice.handle(sub.Granted(1, 2, 48))
    twice.handle(sub.ParcelDrawn(1, 96, 48, 2, 960, 96))
    twice.handle(sub.InputEnded())
    begun = submission()
    begun.handle(sub.ResultsArrived(1, 1, [(4, 2, 0, 2)], 20))
    done = submission()
    done.handle(sub.ResultsArrived(1, 1, [(4, 96, 0, 2)], 20))
    for brain in (twice, begun, done, submission(None), submission(prompt=True)):
        with pytest.raises(ProtocolError):
            brain.handle(sub.ResendAsked(1, 1, 0, redraw=True))


def test_it_is_over_with_its_scheduler_as_ever() -> None:
    brain = submission()
    brain.handle(sub.ResendAsked(1, 1, 0, redraw=True))
    brain.handle(sub.SchedulerLost())
    brain.handle(sub.SchedulerFound())
    assert brain.handle(sub.Granted(0, 2, 1)) == [sub.SendParcel(0, 0, 1)]
    brain.handle(sub.Granted(0, 2, 48))
    plan = brain.plan()
    assert plan is not None and plan.packets == 48
