"""Items that nobody wants any more, whether they wait, run or are done; and which node is told."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import scheduler_events as server_ev
from achilles.core import scheduler_state
from achilles.core import slots_events as ev
from achilles.core.cancelled_items import LOOK_NS, MOST_NOT_NOTED
from achilles.errors import ProtocolError
from achilles.workers.running import MOST_IN_A_GULP
from tests.unit.core import scheduler_driver
from tests.unit.core.test_slots import Driver, of, taught

KEY = (1, 0, 1)
CANCELLED = 2  # the status of a segment without results


def cancel(drive: Driver, index: int) -> list[ev.Command]:
    return drive.hear(ev.ItemCancelled, KEY, index)


def seen(drive: Driver, worker: int, running: int | None, exact: bool = True) -> list[ev.Command]:
    return drive.hear(ev.WorkerSeen, worker, 1, running, 0, exact)


def look_often(drive: Driver) -> None:
    for _ in range(20):
        drive.now_ns += 40 * LOOK_NS
        drive.hear(ev.TimePassed)


def finish_all(drive: Driver) -> dict[int, int]:
    """Run everything; the status of each item."""
    drive.run_all()
    assert not drive.brain.parcels and not drive.brain.pieces and not drive.deaths
    found: dict[int, int] = {}
    for first, tasks, status in drive.sent:
        for index in range(first, first + tasks):
            assert index not in found
            found[index] = status
    return found


def items(pieces: list[Any]) -> list[int]:
    return [
        index
        for piece in pieces
        for index in range(piece.first + piece.skip, piece.first + piece.skip + piece.tasks)
    ]


def test_an_item_that_waits_is_never_run_and_the_others_keep_their_order() -> None:
    drive = taught(1)
    drive.parcel(1, [1, 4, 1], 6)
    (report,) = of(cancel(drive, 3), ev.ReportCancelled)
    assert report.index == 3
    ran = items(drive.running[0])
    while drive.running[0]:
        drive.finish(0, busy_ns=100_000_000)
        ran += items(drive.running[0])
    assert ran == [0, 1, 2, 4, 5]
    assert sorted(drive.sent) == [(0, 1, 0), (1, 2, 0), (3, 1, CANCELLED), (4, 1, 0), (5, 1, 0)]


def test_the_only_item_of_a_waiting_piece() -> None:
    drive = taught(0)
    drive.parcel(1, [1], 1)
    cancel(drive, 0)
    assert drive.sent == [(0, 1, CANCELLED)]
    assert not drive.brain.parcels and not drive.brain.pieces and not len(drive.brain._turns)


def test_the_running_item_ends_its_worker_and_nobody_is_charged() -> None:
    drive = taught(1)
    drive.parcel(1, [4, 1], 5)
    commands = cancel(drive, 2)
    assert of(commands, ev.HandBack, ev.LookAt) == [
        ev.HandBack(0, drive.running[0][0].piece),
        ev.LookAt(0),
    ]
    assert of(seen(drive, 0, 2), ev.StopWorker) == [ev.StopWorker(0)]
    assert not of(seen(drive, 0, 2), ev.StopWorker)
    assert of(drive.die(0, 2), ev.ReportCancelled)
    assert drive.brain.jobs[1].deaths == {}
    drive.worker(0)
    assert finish_all(drive) == {0: 0, 1: 0, 2: CANCELLED, 3: 0, 4: 0}


def test_an_item_that_ends_just_before_its_worker_is_stopped_has_its_result() -> None:
    drive = taught(1)
    drive.parcel(1, [1, 1], 2)
    cancel(drive, 0)
    assert of(seen(drive, 0, 0), ev.StopWorker)
    drive.finish(0)
    drive.die(0, None)
    drive.worker(0)
    assert finish_all(drive) == {0: 0, 1: 0}


def test_an_item_still_to_come_is_given_back_and_not_run() -> None:
    drive = taught(1)
    drive.parcel(1, [6], 6)
    cancel(drive, 4)
    assert not of(seen(drive, 0, 1), ev.StopWorker)
    piece = drive.running[0].pop(0)
    commands = drive.hear(ev.PieceFinished, 0, piece.piece, 0, 1000, 10, 2)
    assert of(commands, ev.ReportCancelled)
    assert 4 not in items(drive.running[0])
    assert finish_all(drive) == {0: 0, 1: 0, 2: 0, 3: 0, 4: CANCELLED, 5: 0}


def test_a_piece_behind_another_is_given_back() -> None:
    drive = taught(1)
    drive.parcel(1, [1] * 6, 6)
    drive.finish(0, busy_ns=1000)
    waits = drive.running[0][2]
    assert of(cancel(drive, waits.first), ev.HandBack, ev.LookAt) == [ev.HandBack(0, waits.piece)]
    drive.running[0].remove(waits)
    commands = drive.hear(ev.PieceFinished, 0, waits.piece, 0, 0, 0, 0)
    assert of(commands, ev.ReportCancelled)
    assert finish_all(drive) == {index: CANCELLED * (index == waits.first) for index in range(6)}


def test_one_that_was_not_given_back_in_time_is_found_when_it_runs() -> None:
    drive = taught(1)
    drive.parcel(1, [1] * 6, 6)
    drive.finish(0, busy_ns=1000)
    cancel(drive, 2)
    drive.finish(0, busy_ns=1000)
    drive.now_ns += LOOK_NS
    assert of(drive.hear(ev.TimePassed), ev.LookAt) == [ev.LookAt(0)]
    assert of(seen(drive, 0, 2), ev.StopWorker)


def test_what_is_done_stays_done() -> None:
    drive = taught(1)
    drive.parcel(1, [1, 1], 2)
    drive.finish(0, busy_ns=100_000_000)
    assert not of(cancel(drive, 0), ev.ReportCancelled, ev.HandBack, ev.LookAt)
    assert finish_all(drive) == {0: 0, 1: 0}
    assert not cancel(drive, 0)
    assert not drive.hear(ev.ItemCancelled, (9, 9, 9), 0)


def test_an_item_that_its_worker_has_passed_is_left_alone() -> None:
    drive = taught(1)
    drive.parcel(1, [6], 6)
    cancel(drive, 1)
    assert not of(seen(drive, 0, 3), ev.StopWorker)
    assert finish_all(drive) == dict.fromkeys(range(6), 0)


def test_workers_are_looked_at_ever_less_often_and_only_while_it_is_not_known() -> None:
    drive = taught(1)
    drive.parcel(1, [6], 6)
    cancel(drive, 4)
    looks = 0
    for _ in range(200):
        drive.now_ns += LOOK_NS
        looks += len(of(drive.hear(ev.TimePassed), ev.LookAt))
    assert 8 <= looks <= 14
    drive.finish(0)
    look_often(drive)
    assert not drive.brain._unwanted._held


@pytest.mark.parametrize("index", [3, 3 + MOST_NOT_NOTED])
def test_a_worker_stuck_at_what_it_did_not_note_is_stopped_after_a_while(index: int) -> None:
    assert MOST_NOT_NOTED >= MOST_IN_A_GULP
    drive = taught(1)
    drive.parcel(1, [2000], 2000)
    cancel(drive, index)
    assert not of(seen(drive, 0, 2, exact=False), ev.StopWorker)
    look_often(drive)
    assert bool(of(seen(drive, 0, 2, exact=False), ev.StopWorker)) == (index == 3)
    if index == 3:
        drive.die(0, 2)
        drive.worker(0)
        assert drive.running[0][0].singly
        assert finish_all(drive) == {n: CANCELLED * (n == 3) for n in range(2000)}


def test_items_of_packets_that_are_reduced_by_their_worker() -> None:
    drive = taught(1, reduces=True)
    drive.parcel(1, [9], 3)
    cancel(drive, 5)
    assert not of(seen(drive, 0, 1), ev.StopWorker)  # it gives back the packet of that item
    assert of(seen(drive, 0, 3), ev.StopWorker)  # it would not
    drive.die(0, 3)
    drive.worker(0)
    assert finish_all(drive) == {n: CANCELLED * (n == 5) for n in range(9)}
    assert (0, 3, 0) in drive.sent and (6, 3, 0) in drive.sent


def test_a_packet_without_one_of_its_items_is_not_reduced() -> None:
    drive = taught(0, reduces=True)
    drive.parcel(1, [2, 2], 4)
    cancel(drive, 1)
    drive.worker(0)
    assert not any(isinstance(piece, ev.RunReduce) for piece in drive.running[0])
    assert finish_all(drive) == {0: 0, 1: CANCELLED, 2: 0, 3: 0}


def test_an_item_that_kills_its_worker_and_is_cancelled_is_not_run_again() -> None:
    drive = taught(1)
    drive.parcel(1, [3], 3)
    cancel(drive, 1)
    drive.die(0, 1)
    drive.worker(0)
    assert finish_all(drive) == {0: 0, 1: CANCELLED, 2: 0}


def test_all_items_one_after_the_other() -> None:
    drive = taught(0)
    drive.parcel(1, [3, 4], 7)
    for index in (2, 0, 1, 6, 4, 5, 3, 3):
        cancel(drive, index)
    assert finish_all(drive) == dict.fromkeys(range(7), CANCELLED)


def test_a_parcel_of_which_something_failed_is_not_given_back() -> None:
    drive = taught(0)
    drive.parcel(1, [2], 2)
    cancel(drive, 0)
    assert of(drive.hear(ev.ParcelAskedBack, KEY), ev.ReturnParcel) == [ev.ReturnParcel(KEY, False)]


def test_nobody_asks_after_a_job_that_is_forgotten() -> None:
    drive = taught(1)
    drive.parcel(1, [3], 3)
    cancel(drive, 1)
    drive.hear(ev.JobForgotten, 1)
    assert not of(seen(drive, 0, 1), ev.StopWorker)
    drive.now_ns += LOOK_NS
    assert not of(drive.hear(ev.TimePassed), ev.LookAt)
    assert not drive.brain._unwanted._held


# At the server.


def placed() -> scheduler_driver.Driver:
    drive = scheduler_driver.Driver()
    drive.node(0)
    drive.job(1, speculate=True)
    drive.parcel(1, 0, 0)
    return drive


def test_the_node_that_has_the_attempt_is_told() -> None:
    drive = placed()
    told = drive.hear(server_ev.ItemCancelled, 1, 0, 1, 1)
    assert told == [server_ev.CancelItem(0, 1, 0, 1, 1)]


def test_nobody_is_told_of_what_no_node_has() -> None:
    drive = placed()
    assert not drive.hear(server_ev.ItemCancelled, 1, 0, 2, 1)  # another attempt
    assert not drive.hear(server_ev.ItemCancelled, 1, 5, 1, 1)
    assert not drive.hear(server_ev.ItemCancelled, 9, 0, 1, 1)
    drive.node(1)
    drive.hear(server_ev.NodeLost, 0)
    assert not drive.hear(server_ev.ItemCancelled, 1, 0, 1, 1)
    assert not drive.hear(server_ev.ItemCancelled, 1, 0, 2, 1)  # not sent yet: the controller says it after
    drive.parcel(1, 0, 1, attempt=2)
    assert drive.hear(server_ev.ItemCancelled, 1, 0, 2, 1) == [server_ev.CancelItem(1, 1, 0, 2, 1)]


@pytest.mark.parametrize("index", [-1, 2, 2**62])
def test_an_item_that_is_not_in_the_parcel_is_a_lie(index: int) -> None:
    with pytest.raises(ProtocolError, match="is not in parcel"):
        placed().hear(server_ev.ItemCancelled, 1, 0, 1, index)


# Before the parcel comes.


@pytest.mark.parametrize("reduces", [False, True])
def test_what_was_cancelled_before_its_parcel_came_is_never_run(reduces: bool) -> None:
    drive = taught(2, reduces=reduces)
    drive.parcel(1, [1], 1, parcel=9, first=50)  # something runs, and something waits
    drive.parcel(1, [1, 1], 2, parcel=8, first=60)
    for index in (0, 3, 4, 7, 99):
        cancel(drive, index)
    drive.parcel(1, [2, 2, 2, 2], 4 if reduces else 8)
    assert [piece.key[1] for piece in drive.brain.jobs[1].waiting] == [8] + [0] * 4
    ran: list[int] = []
    while busy := [worker for worker, pieces in drive.running.items() if pieces]:
        ran += (
            [] if isinstance(drive.running[busy[0]][0], ev.RunReduce) else items(drive.running[busy[0]][:1])
        )
        drive.finish(busy[0], busy_ns=100_000_000)
    assert sorted(ran) == [1, 2, 5, 6, 50, 60, 61]
    assert {index for index, _, status in drive.sent if status == CANCELLED} == {0, 3, 4, 7}
    assert not drive.brain.parcels and not drive.brain.pieces


def test_a_parcel_all_of_which_was_cancelled_before_it_came() -> None:
    drive = taught(1)
    for index in range(1500):
        cancel(drive, index)
    drive.parcel(1, [700, 800], 1500)
    assert finish_all(drive) == dict.fromkeys(range(1500), CANCELLED)
    assert not len(drive.brain._turns)


def test_what_was_said_of_another_attempt_counts_for_nothing() -> None:
    drive = taught(1)
    drive.hear(ev.ItemCancelled, (1, 0, 2), 0)
    drive.parcel(1, [2], 2)
    assert finish_all(drive) == {0: 0, 1: 0}


def test_many_items_of_a_piece_that_comes_back_at_once() -> None:
    drive = taught(1)
    drive.parcel(1, [4000], 4000)
    for index in range(0, 4000, 2):
        cancel(drive, index)
    drive.hear(ev.WorkerDied, 0, None)
    drive.running = {}
    drive.worker(1)
    assert finish_all(drive) == {index: CANCELLED * (index % 2 == 0) for index in range(4000)}


def test_the_server_passes_on_what_came_before_the_parcel_with_the_parcel() -> None:
    drive = scheduler_driver.Driver()
    drive.node(0)
    drive.job(1)
    for index in (1, 0, 2, -1):
        assert not drive.hear(server_ev.ItemCancelled, 1, 0, 1, index)
    said = drive.parcel(1, 0, 0)
    told = [server_ev.CancelItem(0, 1, 0, 1, index) for index in (0, 1)]
    place = said.index(server_ev.SendParcel(0, 1, 0, 1))
    assert said[place - 2 : place] == told
    assert drive.brain.jobs[1].early is None


def test_what_the_server_keeps_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_state, "MAX_EARLY_CANCELS", 3)
    drive = scheduler_driver.Driver()
    drive.job(1)
    for parcel in range(5):
        for index in range(3):
            drive.hear(server_ev.ItemCancelled, 1, parcel, 1, index)
    assert drive.brain.jobs[1].early == ((4, 1), {0, 1, 2})
    with pytest.raises(ProtocolError, match="more than 3 items"):
        drive.hear(server_ev.ItemCancelled, 1, 4, 1, 3)
