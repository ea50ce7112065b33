"""A submission whose scheduler is lost: what was out starts over, nothing is drawn or delivered twice."""

from __future__ import annotations

from achilles.core import submission_events as ev
from achilles.core.submission import Submission


def running(parcels: int) -> Submission:
    """A job with so many parcels of two tasks out."""
    brain = Submission(1, ordered=True, budget_bytes=1_000_000)
    brain.handle(ev.InputStarted(False))
    for _ in range(parcels):
        brain.handle(ev.Granted(0, 2, 1))
        brain.handle(ev.ParcelDrawn(0, 2, 1, 2, 10, 100))
    return brain


def finish(brain: Submission, parcel: int) -> list[ev.Command]:
    return brain.handle(ev.ResultsArrived(parcel, 1, [(2 * parcel, 2, 0, 100)], 10))


def assert_even(brain: Submission) -> None:
    """Nothing is counted of parcels that were all read."""
    assert not brain.parcels
    assert (brain._bytes, brain._unread_tasks, brain._waiting_tasks) == (0, 0, 0)


def test_demands_after_a_loss_are_answered_with_what_was_out() -> None:
    brain = running(3)
    finish(brain, 1)
    brain.handle(ev.SchedulerLost())
    brain.handle(ev.SchedulerFound())
    assert brain.handle(ev.Granted(7, 4, 9)) == [ev.SendParcel(0, 7, 1)]
    assert brain.handle(ev.Granted(8, 4, 9)) == [ev.SendParcel(2, 8, 1)]
    assert brain.plan() is None
    brain.handle(ev.Granted(7, 4, 9))
    plan = brain.plan()
    assert plan is not None and plan.packet_tasks == 4


def test_a_demand_of_the_lost_scheduler_draws_nothing() -> None:
    brain = running(1)
    brain.handle(ev.Granted(0, 2, 1))
    brain.handle(ev.SchedulerLost())
    assert brain.plan() is None


def test_partial_results_are_dropped_and_the_books_stay_even() -> None:
    brain = running(1)
    brain.handle(ev.ResultsArrived(0, 1, [(0, 1, 0, 100)], 10))
    assert ev.DropResults(0, 1) in brain.handle(ev.SchedulerLost())
    brain.handle(ev.SchedulerFound())
    brain.handle(ev.Granted(0, 2, 1))
    assert ev.Deliver(0, 0, 2, 1) in finish(brain, 0)
    brain.handle(ev.ParcelRead(0))
    assert_even(brain)


def test_a_parcel_drawn_across_the_loss_waits_for_a_demand() -> None:
    brain = running(0)
    brain.handle(ev.Granted(0, 2, 1))
    assert brain.plan() is not None
    brain.handle(ev.SchedulerLost())
    assert brain.handle(ev.ParcelDrawn(0, 2, 1, 2, 10, 100)) == []
    brain.handle(ev.SchedulerFound())
    assert brain.handle(ev.Granted(5, 2, 1)) == [ev.SendParcel(0, 5, 1)]


def test_the_end_is_told_again_but_only_after_the_last_parcel() -> None:
    brain = running(1)
    assert brain.handle(ev.InputEnded()) == [ev.EndInput()]
    brain.handle(ev.SchedulerLost())
    assert brain.handle(ev.SchedulerFound()) == []
    assert brain.handle(ev.Granted(0, 2, 1)) == [ev.SendParcel(0, 0, 1), ev.EndInput()]
    assert finish(brain, 0)[-1] == ev.Complete()


def test_an_end_that_came_while_nobody_listened_is_told_when_somebody_does() -> None:
    brain = running(0)
    brain.handle(ev.SchedulerLost())
    assert ev.EndInput() not in brain.handle(ev.InputEnded())
    assert brain.handle(ev.SchedulerFound()) == [ev.EndInput()]


def test_a_resend_asked_for_by_the_new_scheduler_is_not_sent_once_more() -> None:
    brain = running(1)
    brain.handle(ev.SchedulerLost())
    brain.handle(ev.SchedulerFound())
    assert ev.SendParcel(0, 3, 2) in brain.handle(ev.ResendAsked(0, 2, 3))
    assert brain.handle(ev.Granted(3, 2, 1)) == []
    assert brain.plan() is not None
