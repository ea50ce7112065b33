"""How soon somebody looks at what runs, while a worker has nothing to do."""

from __future__ import annotations

import pytest

from achilles.core.long_pieces import IDLE_PATIENCE_NS, MOST_ASKED, PATIENCE_NS
from tests.unit.core.slots_drive import MS, Drive


@pytest.mark.parametrize("workers", [2, MOST_ASKED, MOST_ASKED + 1])
def test_an_idle_worker_does_not_wait_for_long(workers: int) -> None:
    drive = Drive(workers)
    drive.parcel([100])
    assert drive.asked(IDLE_PATIENCE_NS - 1) == []
    assert drive.asked(IDLE_PATIENCE_NS) == [0]


def test_nobody_looks_every_other_millisecond_at_pieces_that_are_soon_over() -> None:
    drive = Drive(2)
    drive.parcel([1])
    drive.finish(0, busy_ns=MS // 10)
    drive.wakes = 0
    for parcel in range(1, 101):
        drive.parcel([9], parcel=parcel)
        (worker,) = drive.runs
        assert drive.asked(drive.now_ns + MS) == []
        drive.finish(worker, busy_ns=MS)
    assert drive.wakes <= 100 * MS // PATIENCE_NS + 2


def test_but_one_that_should_be_over_and_is_not_is_asked_for_its_rest() -> None:
    drive = Drive(2)
    drive.parcel([1])
    drive.finish(0, busy_ns=MS // 10)
    drive.parcel([9], parcel=1)
    assert drive.asked(PATIENCE_NS - 1) == []
    assert drive.asked(PATIENCE_NS) == [1]


def test_who_becomes_idle_has_what_runs_looked_at_soon() -> None:
    drive = Drive(2)
    drive.parcel([100, 1])
    drive.now_ns = MS
    drive.wake_ns = []
    drive.finish(1, busy_ns=MS)
    assert min(drive.wake_ns) == IDLE_PATIENCE_NS + MS
    assert drive.asked(IDLE_PATIENCE_NS + MS) == [0]
