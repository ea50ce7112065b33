"""Items that run too long: who is looked at when, who is stopped, who is blamed."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import slots_events as ev
from achilles.core.slots import Slots

S = 1_000_000_000


class Drive:
    """One worker or more, and a clock."""

    def __init__(self, workers: int = 1, limit_ns: int = 10 * S, reduces: bool = False) -> None:
        self.brain = Slots()
        self.now_ns = 100 * S
        for worker in range(workers):
            self.hear(ev.WorkerStarted, worker)
        self.hear(ev.JobIntroduced, 1, reduces, limit_ns)

    def hear(self, kind: Any, *fields: Any) -> list[Any]:
        return self.brain.handle(kind(self.now_ns, *fields))

    def pass_time(self, to_ns: int) -> list[Any]:
        self.now_ns = to_ns
        return self.hear(ev.TimePassed)

    def parcel(self, units: list[int], packet_tasks: int = 1, job: int = 1, first: int = 0) -> list[Any]:
        return self.hear(ev.ParcelReceived, job, 0, 1, first, units, packet_tasks)


def of(commands: list[Any], *kinds: type) -> list[Any]:
    return [command for command in commands if isinstance(command, kinds)]


def test_a_worker_is_looked_at_when_its_first_item_may_be_overdue() -> None:
    drive = Drive()
    assert ev.WakeAt(110 * S) in drive.parcel([4])
    assert of(drive.pass_time(109 * S), ev.LookAt) == []
    assert of(drive.pass_time(110 * S), ev.LookAt) == [ev.LookAt(0)]


def test_an_item_in_time_is_looked_at_again_when_its_own_time_is_up() -> None:
    drive = Drive()
    drive.parcel([4])
    drive.pass_time(110 * S)
    assert drive.hear(ev.WorkerSeen, 0, 1, 2, 104 * S) == [ev.WakeAt(114 * S)]
    assert of(drive.pass_time(114 * S), ev.LookAt) == [ev.LookAt(0)]


@pytest.mark.parametrize(("job", "running", "since_ns"), [(1, None, 0), (1, 0, 0), (2, 0, 5), (1, 9, 5)])
def test_what_is_not_known_to_be_overdue_is_left_alone(job: int, running: int | None, since_ns: int) -> None:
    drive = Drive()
    drive.parcel([4])
    drive.pass_time(110 * S)
    assert drive.hear(ev.WorkerSeen, 0, job, running, since_ns) == [ev.WakeAt(120 * S)]


def test_an_overdue_item_fails_alone_and_the_others_run_again() -> None:
    drive = Drive()
    drive.parcel([4])
    drive.pass_time(110 * S)
    assert drive.hear(ev.WorkerSeen, 0, 1, 1, 100 * S) == [ev.StopWorker(0)]
    assert drive.hear(ev.WorkerSeen, 0, 1, 1, 100 * S) == []
    died = drive.hear(ev.WorkerDied, 0, 1)
    sent = of(died, ev.SendResults)
    (report,) = of(died, ev.ReportTimeout)
    assert (report.index, report.limit_ns) == (1, 10 * S)
    assert not of(died, ev.ReportDeath)
    runs = of(drive.hear(ev.WorkerStarted, 0), ev.RunPiece)
    finished = drive.hear(ev.PieceFinished, 0, runs[0].piece, 0, 20 * S, 10)
    runs += of(finished, ev.RunPiece)
    assert [(run.first + run.skip, run.tasks) for run in runs] == [(0, 1), (2, 2)]
    sent += of(finished + drive.hear(ev.PieceFinished, 0, runs[1].piece, 0, 20 * S, 10), ev.SendResults)
    segments = [segment for command in sent for segment in command.segments]
    assert sorted((first, tasks, status) for _, first, tasks, status, _ in segments) == [
        (0, 1, 0),
        (1, 1, 2),
        (2, 2, 0),
    ]
    assert drive.brain.jobs[1].deaths == {}


def test_a_worker_that_is_being_stopped_gets_nothing_more() -> None:
    drive = Drive()
    drive.parcel([1])
    drive.pass_time(110 * S)
    drive.hear(ev.WorkerSeen, 0, 1, 0, 100 * S)
    assert not of(drive.hear(ev.ParcelReceived, 1, 1, 1, 1, [1], 1), ev.RunPiece)


def test_an_item_that_ends_just_before_its_worker_is_stopped_has_its_result() -> None:
    drive = Drive()
    (run,) = of(drive.parcel([1]), ev.RunPiece)
    drive.pass_time(110 * S)
    drive.hear(ev.WorkerSeen, 0, 1, 0, 100 * S)
    drive.now_ns += 1
    assert of(drive.hear(ev.PieceFinished, 0, run.piece, 0, 10 * S, 10), ev.SendResults)
    assert not of(drive.hear(ev.WorkerDied, 0, None), ev.ReportTimeout, ev.ReportDeath)


def test_what_waited_behind_it_is_not_charged() -> None:
    drive = Drive()
    (run,) = of(drive.parcel([1]), ev.RunPiece)
    drive.hear(ev.PieceFinished, 0, run.piece, 0, 1000, 10)  # now items are known to be short
    runs = of(drive.hear(ev.ParcelReceived, 1, 1, 1, 1, [1, 1, 1], 1), ev.RunPiece)
    assert len(runs) > 1
    drive.pass_time(120 * S)
    assert of(drive.hear(ev.WorkerSeen, 0, 1, 1, 100 * S), ev.StopWorker)
    drive.hear(ev.PieceFinished, 0, runs[0].piece, 0, 20 * S, 10)
    assert not of(drive.hear(ev.WorkerDied, 0, 2), ev.ReportTimeout, ev.ReportDeath)
    assert drive.brain.jobs[1].deaths == {}


def test_wakes_are_few_however_many_pieces_run() -> None:
    drive = Drive()
    wakes = 0
    for number in range(1000):
        drive.now_ns += 1000
        runs = drive.hear(ev.ParcelReceived, 1, number, 1, number, [1], 1)
        (run,) = of(runs, ev.RunPiece)
        wakes += len(of(runs + drive.hear(ev.PieceFinished, 0, run.piece, 0, 1000, 10), ev.WakeAt))
    assert wakes == 1
    assert drive.pass_time(111 * S) == []


def test_a_shorter_limit_is_kept_behind_a_longer_one() -> None:
    drive = Drive()
    drive.hear(ev.JobIntroduced, 2, False, S)
    (run,) = of(drive.parcel([1]), ev.RunPiece)
    drive.hear(ev.PieceFinished, 0, run.piece, 0, 1000, 10)
    assert of(drive.parcel([1], job=2), ev.WakeAt) == [ev.WakeAt(101 * S)]


def test_without_a_limit_nobody_is_looked_at() -> None:
    drive = Drive(limit_ns=0)
    assert not of(drive.parcel([1]), ev.WakeAt)
    assert drive.pass_time(1000 * S) == []


def test_an_overdue_item_of_a_job_that_reduces() -> None:
    drive = Drive(reduces=True)
    drive.parcel([4], packet_tasks=4)
    drive.pass_time(110 * S)
    drive.hear(ev.WorkerSeen, 0, 1, 3, 100 * S)
    assert of(drive.hear(ev.WorkerDied, 0, 3), ev.ReportTimeout)
    (run,) = of(drive.hear(ev.WorkerStarted, 0), ev.RunPiece)
    (sent,) = of(drive.hear(ev.PieceFinished, 0, run.piece, 0, S, 10), ev.SendResults)
    assert sorted(segment[1:4] for segment in sent.segments) == [(0, 3, 0), (3, 1, 2)]


def test_a_look_that_an_earlier_job_wanted_does_not_stand_in_for_a_later_one() -> None:
    drive = Drive()
    (run,) = of(drive.parcel([1]), ev.RunPiece)
    drive.hear(ev.PieceFinished, 0, run.piece, 0, 1000, 10)
    drive.hear(ev.JobForgotten, 1)
    drive.pass_time(110 * S)
    drive.hear(ev.JobIntroduced, 2, False, 10 * S)
    assert of(drive.parcel([1], job=2), ev.WakeAt) == [ev.WakeAt(120 * S)]
