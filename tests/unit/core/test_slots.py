"""The node's brain alone: who runs what, deaths, reducing, cancelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from achilles.core import slots_events as ev
from achilles.core.slots import CANCEL_GRACE_NS, FLUSH_BYTES, Slots


class Driver:
    """Slots with some workers, and a memory of what runs where."""

    def __init__(self, workers: int = 2, max_attempts: int = 3) -> None:
        self.brain = Slots(max_attempts)
        self.now_ns = 0
        self.running: dict[int, list[Any]] = {}
        self.deaths: list[ev.ReportDeath] = []
        self.sent: list[tuple[int, int, int]] = []  # first, tasks, status
        for worker in range(workers):
            self.worker(worker)

    def hear(self, event: type, *args: Any, **named: Any) -> list[ev.Command]:
        commands = self.brain.handle(event(self.now_ns, *args, **named))
        for command in commands:
            if isinstance(command, ev.RunPiece | ev.RunReduce):
                self.running[command.worker].append(command)
            elif isinstance(command, ev.SendResults):
                self.sent += [segment[1:4] for segment in command.segments]
            elif isinstance(command, ev.ReportDeath):
                self.deaths.append(command)
        return commands

    def worker(self, worker: int) -> list[ev.Command]:
        self.running[worker] = []
        return self.hear(ev.WorkerStarted, worker)

    def parcel(
        self, job: int, units: list[int], packet_tasks: int, parcel: int = 0, first: int = 0
    ) -> list[ev.Command]:
        return self.hear(ev.ParcelReceived, job, parcel, 1, first, units, packet_tasks)

    def finish(self, worker: int, status: int = 0, busy_ns: int = 10_000, size: int = 10) -> list[ev.Command]:
        piece = self.running[worker].pop(0)
        return self.hear(ev.PieceFinished, worker, piece.piece, status, busy_ns, size)

    def die(self, worker: int, running: int | None) -> list[ev.Command]:
        self.running[worker] = []
        commands = self.hear(ev.WorkerDied, worker, running)
        del self.running[worker]
        return commands

    def run_all(self, killers: frozenset[int] = frozenset()) -> None:
        """Let every worker finish, or die of what it meets, until nothing runs."""
        fresh = 1_000
        while busy := [worker for worker, pieces in self.running.items() if pieces]:
            worker = busy[0]
            piece = self.running[worker][0]
            doomed = None
            if isinstance(piece, ev.RunPiece):
                start = piece.first + piece.skip
                doomed = next((k for k in sorted(killers) if start <= k < start + piece.tasks), None)
            if doomed is None:
                self.finish(worker)
            else:
                self.die(worker, doomed)
                fresh += 1
                self.worker(fresh)


def of(commands: list[ev.Command], *kinds: type) -> list[Any]:
    return [command for command in commands if isinstance(command, kinds)]


def taught(workers: int = 2, *, reduces: bool = False, max_attempts: int = 3) -> Driver:
    drive = Driver(workers, max_attempts)
    drive.hear(ev.JobIntroduced, 1, reduces)
    return drive


# Running


def test_a_worker_learns_a_job_once_before_its_first_piece() -> None:
    drive = taught(1)
    assert [type(command) for command in drive.parcel(1, [1, 1], 1)] == [ev.TeachJob, ev.RunPiece]
    assert not of(drive.finish(0), ev.TeachJob)


def test_units_go_to_idle_workers_and_wait_when_there_is_none() -> None:
    drive = taught(2)
    runs = of(drive.parcel(1, [1, 1, 1], 3), ev.RunPiece)
    assert [(run.worker, run.first, run.skip, run.tasks) for run in runs] == [(0, 0, 0, 1), (1, 1, 0, 1)]
    assert [run.first for run in of(drive.finish(1), ev.RunPiece)] == [2]


def test_work_waits_for_the_first_worker() -> None:
    drive = taught(0)
    assert drive.parcel(1, [2], 2) == []
    assert of(drive.worker(5), ev.RunPiece)


def test_short_pieces_are_queued_at_all_workers_alike() -> None:
    drive = taught(3)
    drive.parcel(1, [10] * 12, 10)
    assert [len(pieces) for pieces in drive.running.values()] == [1, 1, 1]
    drive.finish(0, busy_ns=100_000)
    # The other two got theirs when nobody knew that they are short as well.
    assert sorted(map(len, drive.running.values())) == [3, 4, 4]
    later = [drive.finish(worker, busy_ns=100_000) for worker in (1, 2, 0)]
    assert not any(of(commands, ev.RunPiece) for commands in later)


@pytest.mark.parametrize(("longest_ms", "queued"), [(10, True), (14, True), (30, False)])
def test_longer_pieces_queue_where_all_take_about_as_long(longest_ms: int, queued: bool) -> None:
    drive = taught(1)
    drive.parcel(1, [1] * 12, 12)
    for number in range(10):
        drive.finish(0, busy_ns=(longest_ms if number == 5 else 10) * 1_000_000)
    assert len(drive.running[0]) == 1 + queued


def test_pieces_at_workers_are_judged_anew_when_tasks_prove_much_shorter() -> None:
    """The first tasks seem long; what lies at one worker is not to leave all the rest to the other."""
    drive = taught(2)
    drive.parcel(1, [16, 16], 16)
    for worker in (0, 1):
        drive.finish(worker, busy_ns=16 * 2_000)
    drive.parcel(1, [1_000] * 8, 1_000, parcel=1, first=32)
    drive.finish(0, busy_ns=1_000 * 100)
    lengths = [len(pieces) for pieces in drive.running.values()]
    assert sum(lengths) == 7 and max(lengths) - min(lengths) <= 1


def test_an_exception_is_forgotten_after_a_while() -> None:
    drive = taught(1)
    drive.parcel(1, [1] * 400, 400)
    drive.finish(0, busy_ns=100_000_000)
    while len(drive.running[0]) == 1:
        drive.finish(0, busy_ns=10_000_000)
    assert 150 < drive.brain.jobs[1].pieces_measured < 300


def test_short_pieces_queue_and_long_ones_do_not() -> None:
    for task_ns, queued in ((1_000, True), (50_000_000, False)):
        drive = taught(1)
        drive.parcel(1, [1], 1)
        drive.finish(0, busy_ns=task_ns)
        drive.parcel(1, [1, 1, 1], 3, parcel=1, first=1)
        assert (len(drive.running[0]) > 1) == queued


def test_jobs_take_turns_by_time() -> None:
    drive = taught(1)
    drive.hear(ev.JobIntroduced, 2)
    drive.parcel(1, [1] * 200, 1)
    drive.parcel(2, [1] * 200, 1)
    used = {1: 0, 2: 0}
    for _ in range(120):
        job = drive.running[0][0].key[0]
        busy_ns = 30_000_000 if job == 1 else 10_000_000
        used[job] += busy_ns
        drive.finish(0, busy_ns=busy_ns)
    assert abs(used[1] - used[2]) <= 60_000_000


# Results


def test_results_are_sent_once_and_when_complete() -> None:
    drive = taught(2)
    drive.parcel(1, [2, 2], 4)
    assert not of(drive.finish(0), ev.SendResults)
    commands = drive.finish(1, status=1)
    assert of(commands, ev.SendResults, ev.DropPiece, ev.DropParcel)[0].segments == [
        (1, 0, 2, 0, 10),
        (2, 2, 2, 1, 10),
    ]
    assert of(commands, ev.DropParcel) == [ev.DropParcel((1, 0, 1))]
    assert not drive.brain.pieces


def test_large_results_do_not_wait_for_the_rest() -> None:
    drive = taught(2)
    drive.parcel(1, [2, 2], 4)
    assert of(drive.finish(0, size=FLUSH_BYTES), ev.SendResults)
    drive.finish(1)
    assert drive.sent == [(0, 2, 0), (2, 2, 0)]


@pytest.mark.parametrize("reduces", [False, True])
def test_an_empty_list_is_run_and_answered(reduces: bool) -> None:
    drive = taught(1, reduces=reduces)
    (run,) = of(drive.parcel(1, [0], 0), ev.RunPiece)
    assert run.tasks == 0
    assert bool(run.packet_tasks) == reduces
    drive.finish(0)
    assert drive.sent == [(0, 0, 0)]
    assert not drive.brain.parcels


@pytest.mark.parametrize("reduces", [False, True])
def test_an_empty_list_that_kills_its_worker_is_reported(reduces: bool) -> None:
    drive = taught(1, reduces=reduces, max_attempts=2)
    drive.parcel(1, [0], 0)
    drive.die(0, None)
    drive.worker(1)
    drive.die(1, None)
    assert drive.sent == [(0, 0, 2)]
    assert not (drive.brain.parcels or drive.brain.pieces)


# Deaths


def test_a_death_blames_the_item_that_ran_and_runs_the_others_again() -> None:
    drive = taught(1)
    drive.parcel(1, [10], 10)
    drive.die(0, 4)
    drive.worker(1)
    shapes = []
    while drive.running[1]:
        shapes.append((drive.running[1][0].skip, drive.running[1][0].tasks))
        drive.finish(1)
    assert shapes == [(0, 4), (4, 1), (5, 5)]
    assert drive.sent == [(0, 4, 0), (4, 1, 0), (5, 5, 0)]


def test_an_item_that_always_kills_is_reported_alone() -> None:
    drive = taught(2)
    drive.parcel(1, [10], 10)
    drive.run_all(frozenset({4}))
    assert [(death.index, death.attempts) for death in drive.deaths] == [(4, 3)]
    assert sorted(drive.sent) == [(0, 4, 0), (4, 1, 2), (5, 5, 0)]
    assert not drive.brain.pieces


def test_pieces_that_stood_behind_are_run_again_without_blame() -> None:
    drive = taught(1, max_attempts=1)
    drive.parcel(1, [1], 1)
    drive.finish(0, busy_ns=1_000)
    drive.parcel(1, [1] * 5, 5, parcel=1, first=1)
    assert len(drive.running[0]) > 2
    drive.die(0, 1)
    assert [death.index for death in drive.deaths] == [1]
    drive.worker(1)
    drive.run_all()
    assert sorted(drive.sent) == [(0, 1, 0), (1, 1, 2), (2, 1, 0), (3, 1, 0), (4, 1, 0), (5, 1, 0)]


def test_a_death_of_which_nothing_is_known_blames_the_first_item() -> None:
    drive = taught(1, max_attempts=1)
    drive.parcel(1, [3], 3)
    drive.die(0, None)
    drive.worker(1)
    drive.run_all()
    assert sorted(drive.sent) == [(0, 1, 2), (1, 2, 0)]


# Reducing


def test_a_unit_of_whole_packets_is_reduced_by_its_worker() -> None:
    drive = taught(1, reduces=True)
    (run,) = of(drive.parcel(1, [9], 3), ev.RunPiece)
    assert run.packet_tasks == 3


def test_a_packet_spread_over_workers_is_brought_together() -> None:
    drive = taught(2, reduces=True)
    runs = of(drive.parcel(1, [2, 2], 4), ev.RunPiece)
    assert [run.packet_tasks for run in runs] == [0, 0]
    drive.finish(1)
    (reduce,) = of(drive.finish(0), ev.RunReduce)
    assert (reduce.first, reduce.tasks, reduce.parts) == (0, 4, [runs[0].piece, runs[1].piece])
    commands = drive.finish(reduce.worker)
    assert drive.sent == [(0, 4, 0)]
    assert {drop.piece for drop in of(commands, ev.DropPiece)} == {*reduce.parts, reduce.piece}


def test_a_packet_with_a_part_that_cannot_run_is_not_reduced() -> None:
    drive = taught(2, reduces=True)
    drive.parcel(1, [2, 2], 4)
    drive.finish(0, status=2)
    assert not of(drive.finish(1), ev.RunReduce)
    assert drive.sent == [(0, 2, 2), (2, 2, 0)]


def test_a_death_in_a_reducing_unit_spoils_only_its_own_packet() -> None:
    drive = taught(1, reduces=True)
    drive.parcel(1, [9], 3)
    drive.run_all(frozenset({4}))
    assert sorted(drive.sent) == [(0, 3, 0), (3, 1, 0), (4, 1, 2), (5, 1, 0), (6, 3, 0)]


def test_a_death_that_does_not_repeat_leaves_every_packet_reduced() -> None:
    drive = taught(1, reduces=True)
    drive.parcel(1, [9], 3)
    drive.die(0, 4)
    drive.worker(1)
    drive.run_all()
    assert sorted(drive.sent) == [(0, 3, 0), (3, 3, 0), (6, 3, 0)]


def test_a_reducer_that_kills_is_reported_for_its_packet() -> None:
    drive = taught(1, reduces=True, max_attempts=2)
    drive.parcel(1, [1, 1], 2)
    for worker in (0, 1):
        while isinstance(drive.running[worker][0], ev.RunPiece):
            drive.finish(worker)
        drive.die(worker, None)
        drive.worker(worker + 1)
    assert drive.sent == [(0, 2, 2)]
    assert not drive.brain.pieces


# Forgetting


def test_a_forgotten_job_leaves_nothing_and_its_worker_is_stopped_after_a_grace() -> None:
    drive = taught(1)
    drive.parcel(1, [1, 1, 1], 1)
    commands = drive.hear(ev.JobForgotten, 1)
    assert of(commands, ev.DropParcel, ev.UnteachJob) == [ev.DropParcel((1, 0, 1)), ev.UnteachJob(0, 1)]
    (wake,) = of(commands, ev.WakeAt)
    assert wake.at_ns == CANCEL_GRACE_NS
    drive.now_ns = wake.at_ns - 1
    assert not of(drive.hear(ev.TimePassed), ev.StopWorker)
    drive.now_ns = wake.at_ns
    assert of(drive.hear(ev.TimePassed), ev.StopWorker) == [ev.StopWorker(0)]
    drive.die(0, 0)
    assert not (drive.brain.jobs or drive.brain.parcels or drive.brain.pieces or drive.brain.workers)


def test_a_worker_that_ends_in_time_is_not_stopped() -> None:
    drive = taught(1)
    drive.parcel(1, [1], 1)
    drive.hear(ev.JobForgotten, 1)
    drive.finish(0)
    drive.now_ns = CANCEL_GRACE_NS
    assert not of(drive.hear(ev.TimePassed), ev.StopWorker)
    assert not drive.brain.pieces


def test_a_queued_piece_of_a_forgotten_job_that_never_ends_is_stopped_too() -> None:
    """The first of two pieces ends in time, the one behind it would run for ever."""
    drive = taught(1)
    drive.parcel(1, [1], 1)
    drive.finish(0, busy_ns=1_000)
    drive.parcel(1, [1, 1], 2, parcel=1, first=1)
    assert len(drive.running[0]) == 2
    commands = drive.hear(ev.JobForgotten, 1)
    assert len(of(commands, ev.WakeAt)) == 1
    drive.finish(0)
    stops: list[Any] = []
    for _ in range(4):
        drive.now_ns += CANCEL_GRACE_NS
        stops += of(drive.hear(ev.TimePassed), ev.StopWorker)
    assert stops


def test_a_forgotten_piece_behind_anothers_does_not_stop_the_other() -> None:
    drive = taught(1)
    drive.hear(ev.JobIntroduced, 2)
    for job in (1, 2):
        drive.parcel(job, [1], 1)
        drive.finish(0, busy_ns=1_000)
    drive.parcel(2, [1], 1, parcel=1)
    drive.parcel(1, [1], 1, parcel=1)
    assert [run.key[0] for run in drive.running[0]] == [2, 1]
    drive.hear(ev.JobForgotten, 1)
    drive.now_ns = CANCEL_GRACE_NS
    commands = drive.hear(ev.TimePassed)
    assert not of(commands, ev.StopWorker)
    assert of(commands, ev.WakeAt)


def test_work_of_an_unknown_job_is_ignored() -> None:
    drive = Driver(1)
    assert drive.parcel(9, [1], 1) == []
    assert drive.hear(ev.JobForgotten, 9) == []
    assert drive.hear(ev.WorkerDied, 77, None) == []
    assert drive.hear(ev.PieceFinished, 0, 123, 0, 1, 1) == []


# Whatever happens


@given(
    units=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    packets=st.integers(1, 4),
    reduces=st.booleans(),
    killers=st.frozensets(st.integers(0, 30), max_size=4),
    workers=st.integers(1, 4),
    attempts=st.integers(1, 3),
)
@settings(max_examples=150, deadline=None)
def test_every_item_is_answered_once(
    units: list[int], packets: int, reduces: bool, killers: frozenset[int], workers: int, attempts: int
) -> None:
    drive = taught(workers, reduces=reduces, max_attempts=attempts)
    for parcel in range(packets):  # each parcel is one packet cut in units
        drive.parcel(1, units, sum(units), parcel=parcel, first=parcel * sum(units))
    drive.run_all(killers)
    total = packets * sum(units)
    at = 0
    for first, tasks, _ in sorted(drive.sent):
        assert first == at
        at += tasks
    assert at == total
    dead = {first for first, tasks, status in drive.sent if status == 2 and tasks == 1}
    assert dead == {index for index in killers if index < total}
    assert not (drive.brain.pieces or drive.brain.parcels)
    drive.hear(ev.JobForgotten, 1)
    assert not drive.brain.jobs


def test_of_a_death_among_short_items_the_next_one_tells_whose_it_was() -> None:
    drive = taught(1)
    drive.parcel(1, [10], 10)
    drive.hear(ev.WorkerDied, 0, 0, exact=False)
    drive.worker(1)
    (run,) = drive.running[1]
    assert (run.skip, run.tasks, run.singly) == (0, 10, True)
    drive.die(1, 4)
    assert drive.deaths == []
    drive.worker(2)
    run = drive.running[2][0]
    assert (run.skip, run.tasks, run.singly) == (0, 4, False)
    drive.run_all(frozenset({4}))
    assert [(death.index, death.attempts) for death in drive.deaths] == [(4, 3)]
    assert sorted(drive.sent) == [(0, 4, 0), (4, 1, 2), (5, 5, 0)]


def test_what_died_with_nobody_to_blame_is_not_given_to_another_node() -> None:
    """Two nodes could pass it on for ever, and each lose a worker to it every time."""
    drive = taught(1)
    drive.parcel(1, [10], 10)
    drive.hear(ev.WorkerDied, 0, 0, exact=False)
    assert ev.ReturnParcel((1, 0, 1), False) in drive.hear(ev.ParcelAskedBack, (1, 0, 1))
