"""Pieces that were cut too long: who is asked to give back what, and what becomes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import slots_events as ev
from achilles.core.long_pieces import (
    EXPECTED_PATIENCE_NS,
    IDLE_PATIENCE_NS,
    PATIENCE_NS,
    PATIENT_LOOK_NS,
    PATIENT_NS,
    SLICE_PATIENCE_NS,
)
from achilles.core.slots import FLUSH_NS
from tests.unit.core.slots_drive import MS, Drive


def test_who_runs_a_piece_for_long_is_asked_for_the_rest_once() -> None:
    drive = Drive(1)
    drive.parcel([100])
    assert drive.asked(PATIENCE_NS - 1) == []
    assert drive.asked(PATIENCE_NS) == [0]
    assert drive.asked(50 * PATIENCE_NS) == []


def test_what_cannot_be_divided_is_left_alone() -> None:
    drive = Drive(2)
    drive.parcel([1])
    assert drive.wake_ns == []


def test_what_is_done_is_sent_and_the_rest_is_shared_with_who_is_idle() -> None:
    drive = Drive(2)
    drive.parcel([100])
    drive.asked(FLUSH_NS)
    drive.finish(0, done=40)
    assert drive.sent == [(0, 40)]
    assert sorted(drive.ranges().values()) == [(40, 30), (70, 30)]
    drive.finish(0)
    drive.finish(1)
    assert sorted(drive.sent) == [(0, 40), (40, 30), (70, 30)]
    assert not drive.brain.parcels and not drive.brain.pieces


def test_the_rest_runs_elsewhere_while_its_worker_is_still_at_an_item() -> None:
    drive = Drive(3)
    drive.parcel([100])
    drive.asked(PATIENCE_NS)
    drive.promise(0, 40)
    # One share stays for itself, as it will be idle soon.
    assert sorted(drive.ranges().values()) == [(0, 100), (40, 20), (60, 20)]
    drive.finish(0, done=40)
    assert sorted(drive.ranges().values()) == [(40, 20), (60, 20), (80, 20)]
    for worker in range(3):
        drive.finish(worker)
    assert sorted(drive.sent) == [(0, 40), (40, 20), (60, 20), (80, 20)]
    assert not drive.brain.parcels and not drive.brain.pieces


def test_what_is_done_before_a_long_item_is_sent_while_that_runs() -> None:
    drive = Drive(1)
    drive.parcel([100])
    drive.asked(PATIENCE_NS)
    drive.promise(0, 40)
    drive.now_ns = FLUSH_NS
    running = drive.runs[0].piece
    keep, send, *_ = drive.answer_early(0, 39)
    assert isinstance(keep, ev.KeepPart) and keep.of == running
    assert send.segments == [(keep.piece, 0, 39, 0, 1000)]
    drive.finish(0, done=1)
    assert drive.ranges() == {0: (40, 60)}
    drive.finish(0)
    assert sorted(drive.sent) == [(0, 39), (39, 1), (40, 60)]
    assert not drive.brain.parcels and not drive.brain.pieces


def test_who_dies_after_an_early_answer_has_only_the_others_run_again() -> None:
    drive = Drive(1)
    drive.parcel([10])
    drive.answer_early(0, 4)
    drive.hear(ev.WorkerDied, 0, 4)
    drive.runs.clear()
    drive.hear(ev.WorkerStarted, 1)
    while drive.runs:
        drive.finish(1)
    assert sorted(drive.sent) == [(0, 4), (4, 1), (5, 5)]


def test_early_answers_of_what_nobody_wants_are_dropped() -> None:
    drive = Drive(1)
    drive.parcel([10])
    piece = drive.runs[0].piece
    drive.hear(ev.JobForgotten, 1)
    assert drive.answer_early(0, 4) == [ev.DropPiece(piece)]


def test_a_worker_that_dies_after_its_promise_has_only_that_run_again() -> None:
    drive = Drive(2)
    drive.parcel([100])
    drive.asked(PATIENCE_NS)
    drive.promise(0, 40)
    drive.hear(ev.WorkerDied, 0, 30)
    del drive.runs[0]
    while drive.runs:
        drive.finish(1)
    assert sorted(drive.sent) == [(0, 30), (30, 1), (31, 9), (40, 30), (70, 30)]


def test_a_promise_that_is_late_or_of_all_changes_nothing() -> None:
    drive = Drive(2)
    drive.parcel([100])
    drive.asked(PATIENCE_NS)
    piece = drive.runs[0].piece
    assert drive.promise(0, 100) == []
    drive.finish(0, done=40)
    assert drive.hear(ev.PieceCut, 0, piece, 40) == []
    drive.hear(ev.JobForgotten, 1)
    assert drive.promise(0, 5) == []


def test_tasks_of_one_slice_stay_together() -> None:
    drive = Drive(2)
    drive.hear(ev.JobIntroduced, 2, False, 0, 0, 1, 4)
    drive.parcel([12], packet_tasks=8, job=2)
    assert drive.runs[0].packet_tasks == 4
    drive.asked(PATIENCE_NS)
    drive.promise(0, 4)
    assert drive.ranges() == {0: (0, 12), 1: (4, 4)}
    drive.finish(0, done=4)
    assert drive.ranges() == {0: (8, 4), 1: (4, 4)}
    # One slice is all that a worker would have to give back, so it is not asked, and for long not within it.
    assert drive.asked(drive.now_ns + SLICE_PATIENCE_NS - 1) == []
    assert sorted(drive.asked(drive.now_ns + SLICE_PATIENCE_NS)) == [0, 1]
    assert drive.within == [False, True, True]
    drive.promise(0, 1)
    assert drive.ranges()[0] == (8, 4)
    drive.finish(0, done=1)
    assert drive.ranges()[0] == (9, 3)


def test_what_was_cut_between_slices_is_cut_within_one_later() -> None:
    drive = Drive(1)
    drive.hear(ev.JobIntroduced, 2, False, 0, 0, 1, 4)
    drive.parcel([12], packet_tasks=8, job=2)
    assert drive.asked(PATIENCE_NS) == [0]
    drive.promise(0, 8)
    assert drive.asked(SLICE_PATIENCE_NS - 1) == []
    assert drive.asked(SLICE_PATIENCE_NS) == [0]
    assert drive.within == [False, True]
    assert drive.asked(100 * SLICE_PATIENCE_NS) == []


def test_packets_that_their_worker_reduces_are_never_cut() -> None:
    drive = Drive(1)
    drive.hear(ev.JobIntroduced, 2, True, 0, 0, 1, 4)
    drive.parcel([8], packet_tasks=8, job=2)
    assert drive.asked(100 * SLICE_PATIENCE_NS) == []


def test_what_is_as_long_as_it_was_meant_to_be_is_not_asked_for() -> None:
    drive = Drive(1)
    drive.parcel([1])
    drive.finish(0, busy_ns=MS)
    drive.parcel([40], parcel=1)
    assert drive.asked(EXPECTED_PATIENCE_NS - 1) == []
    assert drive.asked(EXPECTED_PATIENCE_NS) == [0]
    # Unless somebody else comes.
    drive.finish(0, done=30, busy_ns=30 * MS)
    drive.parcel([40], parcel=2)
    drive.hear(ev.JobIntroduced, 2)
    drive.parcel([1], job=2)
    assert drive.asked(drive.now_ns + PATIENCE_NS) == [0]


def patient_drive(workers: int) -> Drive:
    """Slots whose job has tasks of 1 ms, and no reader before its end."""
    drive = Drive(workers)
    drive.brain.jobs[1].patient = True
    drive.parcel([1])
    drive.finish(0, busy_ns=MS)
    return drive


@pytest.mark.parametrize(("tasks", "late_ns"), [(20, PATIENT_LOOK_NS), (100, 200 * MS), (900, PATIENT_NS)])
def test_where_nobody_looks_a_piece_may_run_for_longer(tasks: int, late_ns: int) -> None:
    drive = patient_drive(1)
    drive.parcel([tasks], parcel=1)
    assert drive.asked(late_ns - 1) == []
    assert drive.asked(late_ns) == [0]


def test_but_not_while_a_worker_is_idle_or_another_job_waits() -> None:
    drive = patient_drive(2)
    drive.parcel([900], parcel=1)
    assert drive.asked(IDLE_PATIENCE_NS) == [1]
    drive = patient_drive(1)
    drive.parcel([900], parcel=1)
    drive.hear(ev.JobIntroduced, 2)
    drive.parcel([1], job=2)
    assert drive.asked(PATIENCE_NS) == [0]


def test_a_piece_that_is_at_hand_is_looked_at_as_one_of_a_busy_worker() -> None:
    drive = Drive(1)
    drive.parcel([1])
    drive.finish(0, busy_ns=MS)
    drive.wake_ns = []
    drive.parcel([40], parcel=1)
    # Its worker is not idle any more, so nobody has to look after two milliseconds.
    assert min(drive.wake_ns) == EXPECTED_PATIENCE_NS


def test_the_rest_stays_whole_while_others_have_enough_to_do() -> None:
    drive = Drive(2)
    drive.parcel([100, 100, 100])
    drive.asked(PATIENCE_NS)
    drive.finish(0, done=40)
    assert drive.ranges() == {0: (40, 60), 1: (100, 100)}


def test_the_rest_has_more_time_unless_somebody_is_idle() -> None:
    drive = Drive(1)
    drive.parcel([1000])
    pauses = []
    for done in (10, 20, 40):
        began_ns = drive.now_ns
        while not drive.asked(drive.now_ns + MS):
            pass
        pauses.append(drive.now_ns - began_ns)
        drive.finish(0, done=done)
    assert pauses[0] == PATIENCE_NS and pauses[1] >= 2 * PATIENCE_NS and pauses[2] >= 4 * PATIENCE_NS
    drive.hear(ev.WorkerStarted, 1)
    assert drive.asked(drive.now_ns + 2 * PATIENCE_NS) == [0]


def test_another_job_does_not_wait_for_the_end_of_a_long_piece() -> None:
    drive = Drive(1)
    drive.parcel([1000])
    drive.asked(PATIENCE_NS)
    drive.finish(0, done=10)
    drive.hear(ev.JobIntroduced, 2)
    drive.parcel([5], job=2)
    assert drive.asked(drive.now_ns + 2 * PATIENCE_NS) == [0]
    drive.finish(0, done=10, busy_ns=20 * MS)
    assert drive.runs[0].key[0] == 2


def test_arguments_that_are_slow_to_load_are_sent_again_more_rarely() -> None:
    drive = Drive(1)
    drive.parcel([8], size_bytes=64 * MS)
    assert drive.asked(500 * MS) == []
    assert drive.asked(2000 * MS) == [0]


@pytest.mark.parametrize("done", [4, 8, 96])
def test_a_reduced_piece_is_cut_between_packets(done: int) -> None:
    drive = Drive(3, reduces=True)
    drive.parcel([100], packet_tasks=4)
    drive.asked(PATIENCE_NS)
    drive.finish(0, done=done)
    ranges = sorted(drive.ranges().values())
    assert sum(tasks for _, tasks in ranges) == 100 - done
    assert all(first % 4 == 0 for first, _ in ranges)
    assert all(run.packet_tasks == 4 for run in drive.runs.values())


def test_a_reduced_packet_in_several_pieces_is_still_brought_together() -> None:
    drive = Drive(2, reduces=True)
    drive.parcel([50, 50], packet_tasks=100)
    drive.asked(PATIENCE_NS)
    drive.finish(0, done=7)
    drive.finish(0)
    commands = drive.finish(1)
    (reduce,) = [command for command in commands if isinstance(command, ev.RunReduce)]
    assert (reduce.first, reduce.tasks, len(reduce.parts)) == (0, 100, 3)


def test_a_death_in_what_was_given_back_blames_the_item_that_ran() -> None:
    drive = Drive(2)
    drive.parcel([100])
    drive.asked(PATIENCE_NS)
    drive.finish(0, done=40)
    worker = next(number for number, (first, _) in drive.ranges().items() if first == 70)
    del drive.runs[worker]
    drive.hear(ev.WorkerDied, worker, 80)
    for _ in range(4):
        drive.finish(1 - worker)
    assert sorted(drive.sent) == [(0, 40), (40, 30), (70, 10), (80, 1), (81, 19)]


def test_a_worker_that_had_not_begun_gives_everything_back() -> None:
    drive = Drive(1)
    drive.parcel([10])
    drive.asked(PATIENCE_NS)
    drive.finish(0, done=0, busy_ns=0)
    assert drive.ranges() == {0: (0, 10)}
    drive.finish(0)
    assert drive.sent == [(0, 10)] and not drive.brain.pieces


def test_what_is_given_back_of_a_forgotten_job_is_dropped() -> None:
    drive = Drive(1)
    drive.parcel([10])
    drive.asked(PATIENCE_NS)
    drive.hear(ev.JobForgotten, 1)
    drive.finish(0, done=3)
    assert drive.runs == {} and not drive.brain.pieces


def queue_behind(drive: Drive, pieces: int) -> list[Any]:
    """Short tasks, of which so many come to wait behind the one that runs."""
    for parcel in range(20):
        drive.parcel([1], parcel=parcel)
        drive.finish(0, busy_ns=MS // 10)
    for parcel in range(20, 21 + pieces):
        drive.parcel([1], parcel=parcel)
    behind = drive.behind.setdefault(0, [])
    assert len(behind) == pieces
    return behind


def give_back(drive: Drive, worker: int) -> list[Any]:
    """The worker says that it will not run what it was asked for."""
    asked, drive.asked_behind = drive.asked_behind, []
    commands = []
    for piece in asked:
        drive.behind[worker] = [run for run in drive.behind[worker] if run.piece != piece]
        commands += drive.hear(ev.PieceFinished, worker, piece, 0, 0, 0, 0)
    return commands


def test_nothing_waits_behind_a_task_that_turns_out_to_be_long() -> None:
    drive = Drive(1)
    waiting = [run.piece for run in queue_behind(drive, 3)]
    drive.asked(drive.now_ns + PATIENCE_NS // 2)
    assert drive.asked_behind == []
    drive.asked(drive.now_ns + 2 * PATIENCE_NS)
    assert drive.asked_behind == waiting[::-1]
    give_back(drive, 0)
    # What comes back is not put behind the same task again, nor is anything else.
    assert drive.behind[0] == []
    drive.parcel([1], parcel=99)
    assert drive.behind[0] == [] and drive.asked_behind == []
    # Another worker takes it, in order.
    drive.hear(ev.WorkerStarted, 1)
    assert [run.piece for run in (drive.runs[1], *drive.behind[1])][:3] == waiting


def test_a_parcel_that_the_server_wants_is_given_back_once_its_worker_has_let_go() -> None:
    drive = Drive(1)
    run = queue_behind(drive, 1)[0]
    assert drive.hear(ev.ParcelAskedBack, run.key) == [ev.ReturnParcel(run.key, False)]
    drive.asked(drive.now_ns + 2 * PATIENCE_NS)
    assert ev.ReturnParcel(run.key, True) in give_back(drive, 0)
    assert run.key not in drive.brain.parcels and run.piece not in drive.brain.pieces


def test_a_parcel_of_which_something_was_run_stays() -> None:
    drive = Drive(1)
    queue_behind(drive, 0)
    drive.parcel([1, 1, 1], parcel=50)
    drive.finish(0, busy_ns=MS // 10)
    drive.finish(0, busy_ns=MS // 10)
    assert drive.runs[0].unit == 1
    key = drive.runs[0].key
    drive.hear(ev.ParcelAskedBack, key)
    drive.asked(drive.now_ns + 2 * PATIENCE_NS)
    assert drive.asked_behind and not any(
        isinstance(command, ev.ReturnParcel) for command in give_back(drive, 0)
    )


def test_a_node_that_leaves_gives_back_what_its_worker_has_let_go_later() -> None:
    drive = Drive(1)
    run = queue_behind(drive, 1)[0]
    assert not any(isinstance(command, ev.ReturnParcel) for command in drive.hear(ev.DrainBegan))
    drive.asked(drive.now_ns + 2 * PATIENCE_NS)
    assert ev.ReturnParcel(run.key, True) in give_back(drive, 0)


def test_a_worker_that_dies_before_it_has_let_go_is_not_awaited() -> None:
    drive = Drive(1)
    waiting = [run.key for run in queue_behind(drive, 2)]
    drive.asked(drive.now_ns + 2 * PATIENCE_NS)
    drive.hear(ev.WorkerDied, 0, None)
    drive.runs.clear()
    drive.behind.clear()
    drive.hear(ev.WorkerStarted, 1)
    ran = [drive.runs[1].key]
    while 1 in drive.runs:
        drive.finish(1)
        ran += [drive.runs[1].key] if 1 in drive.runs else []
    assert set(waiting) < set(ran) and not drive.brain.pieces
