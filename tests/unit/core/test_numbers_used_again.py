"""A server that starts anew counts its jobs from the beginning: what was there before is not mistaken."""

from __future__ import annotations

from achilles.core import slots_events as ev
from achilles.core.slots import CANCEL_GRACE_NS, Slots

S = 1_000_000_000


def busy_with_a_forgotten_job(**job: int) -> Slots:
    """One worker, still at the first parcel of a job 1 that is gone; another job 1 waits behind it."""
    brain = Slots()
    brain.handle(ev.WorkerStarted(0, 0))
    brain.handle(ev.JobIntroduced(0, 1))
    brain.handle(ev.ParcelReceived(0, 1, 0, 1, 0, [4], 4))
    brain.handle(ev.JobForgotten(0, 1))
    brain.handle(ev.JobIntroduced(0, 1, **job))
    assert brain.handle(ev.ParcelReceived(0, 1, 0, 1, 0, [4], 4)) == []
    return brain


def test_results_of_a_forgotten_job_are_not_those_of_another_with_its_number() -> None:
    brain = busy_with_a_forgotten_job()
    commands = brain.handle(ev.PieceFinished(0, 0, 1, 0, 1_000, 10))
    assert commands == [ev.DropPiece(1), ev.TeachJob(0, 1), ev.RunPiece(0, 2, (1, 0, 1), 0, 0, 0, 4, 0)]
    assert [type(command) for command in brain.handle(ev.PieceFinished(0, 0, 2, 0, 1_000, 10))][:3] == [
        ev.SendResults,
        ev.DropPiece,
        ev.DropParcel,
    ]


def test_a_death_within_a_forgotten_job_charges_nobody_in_another_with_its_number() -> None:
    brain = busy_with_a_forgotten_job()
    assert brain.handle(ev.WorkerDied(0, 0, 2)) == [ev.DropPiece(1)]
    assert not brain.jobs[1].deaths
    assert list(brain.pieces) == [2]


def test_a_time_limit_does_not_hold_for_a_forgotten_job_with_the_same_number() -> None:
    brain = busy_with_a_forgotten_job(limit_ns=S)
    assert brain.handle(ev.WorkerSeen(5 * S, 0, 1, 2, 0)) == []
    assert brain.handle(ev.TimePassed(5 * S)) == [ev.StopWorker(0)]  # because it is busy after the grace
    assert brain.handle(ev.WorkerDied(5 * S, 0, 2)) == [ev.DropPiece(1)]


def test_a_worker_busy_with_a_forgotten_job_is_stopped_although_its_number_is_used_again() -> None:
    brain = busy_with_a_forgotten_job()
    assert brain.handle(ev.TimePassed(CANCEL_GRACE_NS)) == [ev.StopWorker(0)]
