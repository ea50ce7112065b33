"""Workers that are lent for one call: to whom, and what becomes of others meanwhile."""

from __future__ import annotations

from achilles.core import slots_events as ev
from tests.unit.core.test_slots import Driver, taught


def lent(commands: list[ev.Command]) -> list[int]:
    return [command.worker for command in commands if isinstance(command, ev.LendWorker)]


def ask(drive: Driver, job: int = 1) -> list[int]:
    return lent(drive.hear(ev.WorkerAsked, job))


def test_an_idle_worker_is_taught_and_lent_and_gets_nothing_else() -> None:
    drive = taught(2)
    commands = drive.hear(ev.WorkerAsked, 1)
    (worker,) = lent(commands)
    assert commands == [ev.TeachJob(worker, 1), ev.LendWorker(worker, 1)]
    drive.parcel(1, [1, 1, 1, 1], 4)
    assert drive.running.get(worker, []) == [] and drive.running[1 - worker]
    drive.hear(ev.WorkerReturned, worker, 1_000)
    assert drive.running[worker]


def test_the_one_that_was_lent_last_is_lent_again() -> None:
    drive = taught(3)
    (first,) = ask(drive)
    (second,) = ask(drive)
    assert first != second
    for worker in (first, second):
        drive.hear(ev.WorkerReturned, worker, 1_000)
    assert ask(drive) == [second]
    assert ask(drive) != [second]


def test_none_is_lent_while_work_waits_or_nobody_is_idle() -> None:
    drive = taught(1)
    assert ask(drive) == [0]
    assert ask(drive) == []
    drive.parcel(1, [1], 1)
    drive.hear(ev.WorkerReturned, 0, 1_000)
    assert ask(drive) == []
    drive.finish(0)
    assert ask(drive) == [0]


def test_a_job_that_is_not_known_or_has_needs_of_its_own_borrows_nobody() -> None:
    drive = taught(2)
    drive.hear(ev.JobIntroduced, 2, False, 1_000_000)
    drive.hear(ev.JobIntroduced, 3, False, 0, 0, 2)
    assert [ask(drive, job) for job in (2, 3, 4)] == [[], [], []]


def test_one_that_dies_or_leaves_is_not_lent_again() -> None:
    drive = taught(2)
    (worker,) = ask(drive)
    drive.hear(ev.WorkerDied, worker, None)
    assert ask(drive) == [1 - worker]
    drive.hear(ev.WorkerLeaving, 1 - worker)
    drive.hear(ev.WorkerReturned, 1 - worker, 1_000)
    assert ask(drive) == []


def test_a_job_may_be_forgotten_while_it_has_borrowed_one() -> None:
    drive = taught(1)
    (worker,) = ask(drive)
    assert ev.UnteachJob(worker, 1) in drive.hear(ev.JobForgotten, 1)
    drive.hear(ev.WorkerReturned, worker, 1_000)
    drive.hear(ev.JobIntroduced, 2)
    assert ask(drive, 2) == [worker]


def test_what_a_call_took_is_charged_to_its_job() -> None:
    drive = taught(1)
    drive.hear(ev.JobIntroduced, 2)
    (worker,) = ask(drive)
    drive.parcel(1, [1], 1)
    drive.parcel(2, [1], 1)
    drive.hear(ev.WorkerReturned, worker, 1_000_000_000)
    assert drive.running[0][0].key[0] == 2
