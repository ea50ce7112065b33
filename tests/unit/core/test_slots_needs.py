"""The node's brain: jobs of a higher priority first, and tasks that take several slots."""

from __future__ import annotations

import pytest

from achilles.core import slots_events as ev
from achilles.core.long_pieces import PATIENCE_NS
from achilles.core.slots import CANCEL_GRACE_NS
from tests.unit.core.test_slots import Driver, of

MS = 1_000_000
NARROW, WIDE, HIGH = 1, 2, 3


def drive_with(workers: int, slots: int = 2) -> Driver:
    """A node that knows an ordinary job, one whose tasks take several slots, and one that comes first."""
    drive = Driver(workers)
    drive.hear(ev.JobIntroduced, NARROW)
    drive.hear(ev.JobIntroduced, WIDE, slots=slots)
    drive.hear(ev.JobIntroduced, HIGH, priority=1)
    return drive


def parcel(drive: Driver, job: int, units: int, number: int = 0) -> list[ev.Command]:
    return drive.parcel(job, [1] * units, units, parcel=number, first=100 * number)


def runs(drive: Driver) -> dict[int, list[int]]:
    """The jobs of what lies at each worker."""
    return {worker: [piece.key[0] for piece in pieces] for worker, pieces in drive.running.items() if pieces}


def busy(drive: Driver, job: int) -> list[int]:
    return [worker for worker, jobs in runs(drive).items() if jobs[0] == job]


# Priority


def test_pieces_of_a_higher_priority_run_before_those_that_wait() -> None:
    drive = drive_with(2)
    parcel(drive, NARROW, 6)
    parcel(drive, HIGH, 3)
    order = []
    while runs(drive):
        worker = next(iter(runs(drive)))
        order.append(drive.running[worker][0].key[0])
        drive.finish(worker, busy_ns=50 * MS)
        drive.running[worker] = drive.running.pop(worker)  # in turns
    assert order == [NARROW] * 2 + [HIGH] * 3 + [NARROW] * 4


def test_a_long_piece_gives_way_to_a_higher_priority_and_not_to_a_lower() -> None:
    for runs_first, waits, gives in ((NARROW, HIGH, True), (HIGH, NARROW, False), (NARROW, NARROW, False)):
        drive = drive_with(1)
        drive.parcel(runs_first, [10], 10)
        drive.finish(0, busy_ns=10_000 * MS)
        drive.parcel(runs_first, [10], 10, parcel=1, first=10)
        # What it gave back before makes it patient, unless somebody else wants to run.
        drive.brain.workers[0].pieces[0].patience_ns = 100 * PATIENCE_NS
        parcel(drive, waits, 1, number=5)
        drive.now_ns += 2 * PATIENCE_NS
        assert bool(of(drive.hear(ev.TimePassed), ev.HandBack)) == gives


# Slots


@pytest.mark.parametrize(
    ("workers", "slots", "at_once"), [(4, 2, 2), (5, 2, 2), (4, 4, 1), (7, 3, 2), (3, 1, 3)]
)
def test_so_many_tasks_run_at_once_as_their_slots_go_into_the_node(
    workers: int, slots: int, at_once: int
) -> None:
    drive = drive_with(workers, slots)
    parcel(drive, WIDE, 10)
    done = 0
    while runs(drive):
        assert len(busy(drive, WIDE)) == min(at_once, 10 - done)
        if slots > 1:
            assert all(len(jobs) == 1 for jobs in runs(drive).values())
        drive.finish(busy(drive, WIDE)[0], busy_ns=50 * MS)
        done += 1
    assert done == 10


def test_what_is_left_beside_goes_to_others() -> None:
    drive = drive_with(5)
    parcel(drive, WIDE, 10)
    parcel(drive, NARROW, 10)
    assert (len(busy(drive, WIDE)), len(busy(drive, NARROW))) == (2, 1)


@pytest.mark.parametrize(("workers", "beside"), [(8, 3), (7, 2), (10, 0)])
def test_what_a_higher_priority_leaves_over_goes_to_others_at_no_cost_to_it(
    workers: int, beside: int
) -> None:
    drive = Driver(workers)
    drive.hear(ev.JobIntroduced, NARROW)
    drive.hear(ev.JobIntroduced, WIDE, priority=1, slots=5)
    parcel(drive, WIDE, 6)
    parcel(drive, NARROW, 20)
    for _ in range(3):
        assert (len(busy(drive, WIDE)), len(busy(drive, NARROW))) == (workers // 5, beside)
        drive.finish(busy(drive, WIDE)[0], busy_ns=20 * MS)
        for worker in busy(drive, NARROW):
            drive.finish(worker, busy_ns=20 * MS)


def test_what_is_left_over_is_not_taken_while_it_is_needed() -> None:
    """Three ordinary tasks run when the wide job comes, which leaves one worker of five over."""
    drive = Driver(5)
    drive.hear(ev.JobIntroduced, NARROW)
    drive.hear(ev.JobIntroduced, WIDE, priority=1, slots=4)
    parcel(drive, NARROW, 3)
    parcel(drive, WIDE, 1)
    parcel(drive, NARROW, 5, number=1)
    for left in (2, 1):
        drive.finish(busy(drive, NARROW)[0], busy_ns=20 * MS)
        assert len(busy(drive, NARROW)) == left
    assert len(busy(drive, WIDE)) == 1


def test_what_one_leaves_over_is_not_taken_while_another_waits_for_all() -> None:
    """Of three workers two are busy for the most urgent job; the next in rank wants all three."""
    urgent, ranked = 10, 11
    drive = Driver(3)
    drive.hear(ev.JobIntroduced, NARROW)
    drive.hear(ev.JobIntroduced, ranked, priority=1, slots=3)
    drive.hear(ev.JobIntroduced, urgent, priority=2, slots=2)
    for job, tasks in ((urgent, 2), (ranked, 1), (NARROW, 5)):
        parcel(drive, job, tasks)
    for job in (urgent, urgent, ranked):
        assert [len(busy(drive, each)) for each in (urgent, ranked, NARROW)].count(0) == 2
        drive.finish(busy(drive, job)[0], busy_ns=20 * MS)
    assert len(busy(drive, NARROW)) == 3


def test_a_task_of_several_slots_gets_them_beside_an_endless_job_of_one() -> None:
    drive = drive_with(4, 4)
    number = 0
    parcel(drive, NARROW, 8)
    parcel(drive, WIDE, 3)
    wide = narrow = 0
    while wide < 3:
        if not drive.brain.jobs[NARROW].waiting:
            number += 1
            parcel(drive, NARROW, 8, number)
        worker = next(iter(runs(drive)))
        if drive.running[worker][0].key[0] == WIDE:
            assert list(runs(drive)) == [worker]
            wide += 1
        else:
            narrow += 1
        drive.finish(worker, busy_ns=20 * MS)
    # Fairly: each of the three took four slots for as long.
    assert narrow <= 40


def test_new_jobs_do_not_overtake_one_that_gathers_slots() -> None:
    drive = drive_with(2, 2)
    parcel(drive, WIDE, 2)
    drive.finish(busy(drive, WIDE)[0], busy_ns=1_000 * MS)
    parcel(drive, NARROW, 1)
    drive.finish(busy(drive, WIDE)[0], busy_ns=1_000 * MS)
    assert busy(drive, NARROW)
    parcel(drive, WIDE, 1, number=1)  # due, as nobody else waits; and one worker is busy
    for job in range(10, 14):
        drive.hear(ev.JobIntroduced, job)
        parcel(drive, job, 1)
    assert len(runs(drive)) == 1
    drive.finish(busy(drive, NARROW)[0], busy_ns=20 * MS)
    assert list(runs(drive).values()) == [[WIDE]]


def test_a_higher_priority_overtakes_one_that_gathers_slots() -> None:
    drive = drive_with(2, 2)
    parcel(drive, NARROW, 1)
    parcel(drive, WIDE, 1)
    assert not busy(drive, WIDE)
    parcel(drive, HIGH, 1)
    assert len(busy(drive, HIGH)) == 1
    for job in (NARROW, HIGH):
        drive.finish(busy(drive, job)[0], busy_ns=20 * MS)
    assert list(runs(drive).values()) == [[WIDE]]


def test_long_pieces_give_way_to_one_that_gathers_slots() -> None:
    drive = drive_with(2, 2)
    drive.parcel(NARROW, [10, 10], 20)
    parcel(drive, WIDE, 1)
    drive.now_ns += 2 * PATIENCE_NS
    assert len(of(drive.hear(ev.TimePassed), ev.HandBack)) == 2


def test_time_counts_for_each_slot() -> None:
    drive = drive_with(4, 2)
    done = {NARROW: 0, WIDE: 0}
    numbers = {NARROW: 0, WIDE: 0}
    while sum(done.values()) < 600:
        for job in done:
            if not drive.brain.jobs[job].waiting:
                numbers[job] += 1
                parcel(drive, job, 8, numbers[job])
        worker = next(iter(runs(drive)))
        done[drive.running[worker][0].key[0]] += 1
        drive.finish(worker, busy_ns=20 * MS)
        drive.running[worker] = drive.running.pop(worker)  # round robin
    assert 1.6 <= done[NARROW] / done[WIDE] <= 2.4


def is_free(drive: Driver, workers: int) -> bool:
    """Whether so many ordinary pieces begin at once."""
    parcel(drive, NARROW, workers, number=9)
    return len(busy(drive, NARROW)) == workers


def test_the_slots_are_free_again_when_its_worker_dies() -> None:
    drive = drive_with(4, 4)
    drive.brain.max_attempts = 1
    parcel(drive, WIDE, 1)
    (worker,) = busy(drive, WIDE)
    drive.die(worker, 0)
    assert is_free(drive, 3)
    assert drive.brain._roomy._held == 0


def test_a_task_whose_worker_died_gathers_its_slots_again() -> None:
    drive = drive_with(4, 4)
    parcel(drive, WIDE, 1)
    parcel(drive, NARROW, 1)
    drive.die(busy(drive, WIDE)[0], 0)
    # There are too few workers for it now, so others go on meanwhile.
    assert len(busy(drive, NARROW)) == 1
    drive.worker(10)
    assert not busy(drive, WIDE)
    drive.finish(busy(drive, NARROW)[0])
    assert len(busy(drive, WIDE)) == 1


def test_a_worker_that_is_replaced_while_it_was_held_is_held_again() -> None:
    drive = drive_with(2, 2)
    parcel(drive, WIDE, 1)
    parcel(drive, NARROW, 2)
    (worker,) = busy(drive, WIDE)
    drive.die(1 - worker, None)
    drive.worker(10)
    assert list(runs(drive)) == [worker]
    drive.finish(worker, busy_ns=20 * MS)
    assert len(busy(drive, NARROW)) == 2


def test_the_slots_are_free_again_after_a_time_limit() -> None:
    drive = Driver(2)
    drive.hear(ev.JobIntroduced, NARROW)
    drive.hear(ev.JobIntroduced, WIDE, limit_ns=10 * MS, slots=2)
    parcel(drive, WIDE, 1)
    (worker,) = busy(drive, WIDE)
    drive.now_ns = 20 * MS
    drive.hear(ev.TimePassed)
    assert of(drive.hear(ev.WorkerSeen, worker, WIDE, 0, 1), ev.StopWorker)
    parcel(drive, NARROW, 2)
    assert not busy(drive, NARROW)  # it still runs
    drive.die(worker, 0)
    assert len(busy(drive, NARROW)) == 1


def test_the_slots_are_free_again_when_a_piece_is_given_back() -> None:
    drive = drive_with(3, 3)
    drive.parcel(WIDE, [4], 4)
    parcel(drive, NARROW, 3)
    (worker,) = busy(drive, WIDE)
    drive.now_ns += 2 * PATIENCE_NS
    (back,) = of(drive.hear(ev.TimePassed), ev.HandBack)
    drive.running[worker].pop(0)
    drive.hear(ev.PieceFinished, back.worker, back.piece, 0, 20 * MS, 10, 1)
    assert len(busy(drive, NARROW)) == 3 and not busy(drive, WIDE)


@pytest.mark.parametrize("how", ["forgotten", "abandoned"])
def test_the_slots_are_free_again_after_cancelling(how: str) -> None:
    drive = drive_with(3, 3)
    parcel(drive, WIDE, 2)
    (worker,) = busy(drive, WIDE)
    if how == "forgotten":
        drive.hear(ev.JobForgotten, WIDE)
    else:
        drive.hear(ev.ParcelAbandoned, (WIDE, 0, 1))
    parcel(drive, NARROW, 3)
    assert not busy(drive, NARROW)  # it is busy until it is stopped
    drive.now_ns += CANCEL_GRACE_NS
    assert of(drive.hear(ev.TimePassed), ev.StopWorker) == [ev.StopWorker(worker)]
    drive.die(worker, 0)
    assert len(busy(drive, NARROW)) == 2
    drive.worker(10)
    assert len(busy(drive, NARROW)) == 3


def test_a_number_that_is_used_again_gathers_for_nobody() -> None:
    drive = drive_with(2, 2)
    parcel(drive, NARROW, 1)
    parcel(drive, WIDE, 1)
    drive.hear(ev.JobForgotten, WIDE)
    drive.hear(ev.JobIntroduced, WIDE)
    parcel(drive, NARROW, 1, number=1)
    assert len(busy(drive, NARROW)) == 2


def test_packets_are_reduced_with_their_slots_as_well() -> None:
    drive = Driver(4)
    drive.hear(ev.JobIntroduced, WIDE, reduces=True, slots=2)
    drive.parcel(WIDE, [1, 1, 1], 3)
    reduced = []
    while runs(drive):
        assert len(runs(drive)) <= 2
        worker = next(iter(runs(drive)))
        reduced += of([drive.running[worker][0]], ev.RunReduce)
        drive.finish(worker, busy_ns=20 * MS)
    assert len(reduced) == 1
    assert drive.brain._roomy._held == 0 and not drive.brain.parcels
