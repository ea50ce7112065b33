"""A parcel that is late runs a second time on an idle node; the first that is complete wins."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core import slots_events as sl
from achilles.core.slots import CANCEL_GRACE_NS, Slots
from tests.unit.core.scheduler_driver import MS, Driver, of


def served(*, speculate: bool = True) -> Driver:
    """Parcel 0 runs on node 0 while node 1 is idle; tasks are known to take a millisecond."""
    drive = Driver()
    drive.node(0)
    drive.node(1)
    drive.job(1, speculate=speculate)
    drive.parcel(1, 0, 0)
    drive.parcel(1, 1, 1)
    drive.hear(ev.InputEnded, 1)
    drive.results(1, 1, 1, busy_us=2_000)
    return drive


def later(drive: Driver, by_ns: int) -> list[ev.Command]:
    drive.now_ns += by_ns
    return drive.hear(ev.TimePassed)


def copied() -> Driver:
    drive = served()
    assert of(later(drive, 200 * MS), ev.Resend) == [ev.Resend(1, 1, 0, 2, 1, 1)]
    commands = drive.parcel(1, 0, 1, attempt=2)
    assert ev.SendParcel(1, 1, 0, 2) in commands
    return drive


def assert_nothing_left(drive: Driver) -> None:
    assert not drive.brain.jobs
    for node in drive.brain.nodes.values():
        assert not node.parcels and not node.parcels_of and not node.jobs
        assert node.work_ns == node.reserved_ns == 0.0


def test_the_clock_is_asked_for_when_something_may_be_late() -> None:
    drive = Driver()
    drive.node(0)
    drive.node(1)
    drive.job(1, speculate=True)
    drive.parcel(1, 0, 0)
    drive.parcel(1, 1, 1)
    drive.hear(ev.InputEnded, 1)
    (wake,) = of(drive.results(1, 1, 1, busy_us=2_000), ev.WakeAt)
    drive.now_ns = wake.at_ns - 1
    assert of(drive.hear(ev.TimePassed), ev.Resend) == []
    drive.now_ns = wake.at_ns
    commands = drive.hear(ev.TimePassed)
    while wakes := of(commands, ev.WakeAt):
        drive.now_ns = wakes[0].at_ns
        commands = drive.hear(ev.TimePassed)
    assert of(commands, ev.Resend) == [ev.Resend(1, 1, 0, 2, 1, 1)]


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_complete_attempt_wins_and_the_other_is_abandoned(winner: int) -> None:
    drive = copied()
    loser = 1 - winner
    drive.hear(ev.ResultsArrived, loser, 1, 0, loser + 1, [(0, 1, 0, 10)])
    commands = drive.results(winner, 1, 0, attempt=winner + 1)
    assert of(commands, ev.ForwardResults) == [ev.ForwardResults(1, 1, 0, winner + 1)]
    assert of(commands, ev.Abandon) == [ev.Abandon(loser, 1, 0, loser + 1)]
    assert of(commands, ev.FinishJob) == [ev.FinishJob(1, 1)]
    assert drive.hear(ev.ResultsArrived, loser, 1, 0, loser + 1, [(1, 1, 0, 10)]) == []
    assert_nothing_left(drive)


@pytest.mark.parametrize("lost", [0, 1])
def test_when_the_node_of_one_is_lost_the_other_goes_on(lost: int) -> None:
    drive = copied()
    other = 1 - lost
    assert of(drive.hear(ev.NodeLost, lost), ev.Resend, ev.FailParcel) == []
    assert drive.brain.jobs[1].parcels[0].node == other
    assert of(drive.results(other, 1, 0, attempt=other + 1), ev.FinishJob)
    assert_nothing_left(drive)


def test_each_copy_is_an_attempt_of_its_own() -> None:
    drive = copied()
    drive.hear(ev.NodeLost, 1)
    assert of(drive.node(2), ev.Resend) == [ev.Resend(1, 1, 0, 3, 2, 1)]


def test_losses_of_both_attempts_count() -> None:
    drive = copied()
    drive.hear(ev.NodeLost, 0)
    assert of(drive.hear(ev.NodeLost, 1), ev.FailParcel) == []
    drive.node(2)
    drive.parcel(1, 0, 2, attempt=3)
    assert len(of(drive.hear(ev.NodeLost, 2), ev.FailParcel)) == 1
    assert_nothing_left(drive)


def test_a_copy_that_has_not_come_yet_needs_no_abandoning() -> None:
    drive = served()
    later(drive, 200 * MS)
    commands = drive.results(0, 1, 0)
    assert of(commands, ev.Abandon) == [] and of(commands, ev.FinishJob)
    assert drive.parcel(1, 0, 1, attempt=2) == []
    assert_nothing_left(drive)


def test_no_copy_unless_the_job_allows_it() -> None:
    drive = served(speculate=False)
    assert of(later(drive, 10_000 * MS), ev.Resend) == []


def test_no_copy_of_what_is_not_late_nor_a_third_attempt() -> None:
    drive = served()
    assert of(later(drive, 20 * MS), ev.Resend) == []
    assert of(later(drive, 180 * MS), ev.Resend)
    drive.node(2)
    assert of(later(drive, 1_000 * MS), ev.Resend) == []


def test_one_that_its_node_would_not_give_back_is_copied() -> None:
    drive = Driver()
    drive.node(0)
    drive.job(1, speculate=True)
    for parcel in (0, 1):
        drive.parcel(1, parcel, 0)
    drive.hear(ev.InputEnded, 1)
    drive.results(0, 1, 0, tasks=1, busy_us=100_000)
    assert of(drive.node(1), ev.TakeBack) == [ev.TakeBack(0, 1, 1, 1)]
    # While it may still move, no copy is made of it.
    assert [resend.parcel for resend in of(later(drive, 1_000 * MS), ev.Resend)] == [0]
    drive.hear(ev.ParcelReturned, 0, 1, 1, 1, False)
    assert [resend.parcel for resend in of(drive.node(2), ev.Resend)] == [1]


def test_a_node_drops_what_is_abandoned() -> None:
    """What waits vanishes, the worker that runs it is stopped after a while, the rest goes on."""
    slots = Slots()
    slots.handle(sl.WorkerStarted(0, 0))
    slots.handle(sl.JobIntroduced(0, 1, False))
    for parcel in (0, 1):
        slots.handle(sl.ParcelReceived(0, 1, parcel, 1, 2 * parcel, [1, 1], 2))
    (wake,) = of(slots.handle(sl.ParcelAbandoned(0, (1, 0, 1))), sl.WakeAt)
    assert wake.at_ns == CANCEL_GRACE_NS
    assert list(slots.parcels) == [(1, 1, 1)]
    commands = slots.handle(sl.TimePassed(CANCEL_GRACE_NS))
    assert of(commands, sl.StopWorker) == [sl.StopWorker(0)]
    slots.handle(sl.WorkerDied(CANCEL_GRACE_NS, 0, 0))
    commands = slots.handle(sl.WorkerStarted(CANCEL_GRACE_NS, 1))
    assert [piece.key for piece in of(commands, sl.RunPiece)] == [(1, 1, 1)]
    assert not slots.jobs[1].deaths
