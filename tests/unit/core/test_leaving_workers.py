"""Workers that end by themselves: what lies there runs elsewhere, and nobody is charged."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import slots_events as ev
from tests.unit.core.test_slots import Driver, of, taught


def queued(workers: int = 1) -> Driver:
    """Workers of which the first has one piece that runs, and short ones behind it."""
    drive = taught(workers)
    drive.parcel(1, [1] * 12, 12)
    for _ in range(2):
        drive.finish(0, busy_ns=1000)
    assert len(drive.running[0]) > 2
    return drive


def leave(drive: Driver, worker: int, done: int | None = None) -> list[ev.Command]:
    commands = drive.hear(ev.WorkerLeaving, worker)
    piece = drive.running[worker][0]
    drive.running[worker] = []
    commands += drive.hear(ev.PieceFinished, worker, piece.piece, 0, 1000, 10, done)
    return commands


def firsts(runs: list[Any]) -> list[int]:
    return [run.first + run.skip for run in runs]


def test_what_waits_behind_what_it_ran_goes_to_the_others_at_once() -> None:
    drive = queued()
    behind = firsts(drive.running[0][1:])
    leave(drive, 0)
    drive.worker(1)
    assert firsts(drive.running[1])[: len(behind)] == behind
    drive.run_all()
    assert not drive.brain.parcels and not drive.deaths


def test_a_worker_that_leaves_gets_nothing_more_and_its_end_is_no_death() -> None:
    drive = queued()
    assert not of(leave(drive, 0), ev.RunPiece, ev.TeachJob)
    assert drive.die(0, None) == []
    assert drive.brain.jobs[1].deaths == {}
    drive.worker(0)
    assert drive.running[0]


def test_the_rest_of_its_unit_runs_elsewhere_before_all_else() -> None:
    drive = taught(1)
    drive.parcel(1, [6, 6], 12)
    leave(drive, 0, done=2)
    drive.die(0, None)
    drive.worker(0)
    assert [(run.first + run.skip, run.tasks) for run in drive.running[0]] == [(2, 4), (6, 6)]
    drive.run_all()
    assert drive.sent == [(0, 2, 0), (2, 4, 0), (6, 6, 0)]


def test_what_nobody_wants_any_more_is_dropped() -> None:
    drive = queued()
    drive.hear(ev.JobForgotten, 1)
    leave(drive, 0)
    assert not drive.brain.pieces


def test_an_unknown_worker_leaves() -> None:
    assert taught(1).hear(ev.WorkerLeaving, 7) == []


def test_a_parcel_that_comes_back_from_a_leaving_worker_untouched_can_go() -> None:
    drive = taught(1)
    drive.parcel(1, [1] * 3, 3)
    drive.finish(0, busy_ns=1000)
    drive.parcel(1, [1] * 2, 2, parcel=1, first=3)
    assert {run.key[1] for run in drive.running[0]} == {0, 1}
    assert of(drive.hear(ev.ParcelAskedBack, (1, 1, 1)), ev.ReturnParcel) == [
        ev.ReturnParcel((1, 1, 1), False)
    ]
    assert ev.ReturnParcel((1, 1, 1), True) in leave(drive, 0)


@pytest.mark.parametrize("reduces", [False, True])
def test_every_item_is_run_once_however_often_workers_leave(reduces: bool) -> None:
    drive = taught(2, reduces=reduces)
    drive.parcel(1, [4] * 10, 4)
    serial = 10
    while busy := [worker for worker, pieces in drive.running.items() if pieces]:
        piece = drive.running[busy[0]][0]
        whole = isinstance(piece, ev.RunReduce) or piece.tasks <= max(piece.packet_tasks, 1)
        leave(drive, busy[0], None if whole else max(piece.packet_tasks, 1))
        drive.die(busy[0], None)
        serial += 1
        drive.worker(serial)
    at = 0
    for first, tasks, status in sorted(drive.sent):
        assert (first, status) == (at, 0)
        at += tasks
    assert at == 40 and not drive.brain.parcels and not drive.brain.pieces
