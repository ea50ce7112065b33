"""Results that are there are sent soon, also when the next one of their parcel takes an hour."""

from __future__ import annotations

from achilles.core import slots_events as ev
from achilles.core.late_results import FLUSH_NS, PATIENT_FLUSH_NS, LateResults
from achilles.core.slots_state import ParcelState, Piece
from tests.unit.core.test_slots import Driver, of


def test_what_is_done_is_sent_though_nothing_else_ends() -> None:
    drive = Driver(workers=2)
    drive.hear(ev.JobIntroduced, 1, False)
    drive.parcel(1, [1, 1, 1], 1)
    wakes = of(drive.finish(0), ev.WakeAt)
    assert drive.sent == []
    at_ns = min(wake.at_ns for wake in wakes if wake.at_ns >= FLUSH_NS)
    assert at_ns == FLUSH_NS
    drive.now_ns = at_ns
    drive.hear(ev.TimePassed)
    assert drive.sent == [(0, 1, 0)]
    drive.hear(ev.TimePassed)
    assert len(drive.sent) == 1
    drive.finish(0)
    drive.finish(1)
    assert sorted(drive.sent) == [(0, 1, 0), (1, 1, 0), (2, 1, 0)]
    assert drive.brain.parcels == {}


def test_a_parcel_that_went_meanwhile_is_no_trouble() -> None:
    drive = Driver(workers=2)
    drive.hear(ev.JobIntroduced, 1, False)
    drive.parcel(1, [1, 1, 1], 1)
    drive.finish(0)
    drive.hear(ev.JobForgotten, 1)
    drive.now_ns = FLUSH_NS
    drive.hear(ev.TimePassed)
    assert drive.sent == []


def _with_results(key: ev.ParcelKey) -> ParcelState:
    parcel = ParcelState(key, 0, 2, 1, 2, 0)
    parcel.done = [Piece(1, key, 0, 0, 0, 1)]
    return parcel


def test_one_wake_up_for_many_parcels() -> None:
    keys = [(1, parcel, 1) for parcel in range(100)] + [(2, 0, 1)]
    parcels = {key: _with_results(key) for key in keys}
    late = LateResults(parcels)
    *keys, other = keys
    assert [late.note(key, FLUSH_NS) for key in keys] == [FLUSH_NS] + [None] * 99
    late.sent(keys[3])
    assert late.take_due(FLUSH_NS - 1) == ([], None)
    assert late.note(other, FLUSH_NS + 5) is None
    due, again_ns = late.take_due(FLUSH_NS)
    assert [parcel.key for parcel in due] == keys[:3] + keys[4:]
    assert again_ns == FLUSH_NS + 5
    assert late.take_due(FLUSH_NS + 5) == ([parcels[other]], None)


def test_who_is_less_patient_is_served_sooner() -> None:
    keys = [(1, 0, 1), (2, 0, 1), (3, 0, 1)]
    parcels = {key: _with_results(key) for key in keys}
    late = LateResults(parcels)
    assert late.note(keys[0], 300) == 300
    assert late.note(keys[1], 100) == 100
    assert late.note(keys[2], 200) is None
    assert late.take_due(100) == ([parcels[keys[1]]], 200)
    assert late.take_due(200) == ([parcels[keys[2]]], 300)
    assert late.take_due(300) == ([parcels[keys[0]]], None)


def _patient_drive() -> Driver:
    """Slots with a job whose first results were sent."""
    drive = Driver(workers=2)
    introduced = ev.JobIntroduced(0, 1, False)
    introduced.patient = True
    drive.brain.handle(introduced)
    drive.parcel(1, [1, 1, 1], 1)
    drive.finish(0)
    drive.now_ns = FLUSH_NS
    drive.hear(ev.TimePassed)
    assert drive.sent == [(0, 1, 0)]
    return drive


def test_where_nobody_looks_results_wait_for_longer_once_some_were_sent() -> None:
    drive = _patient_drive()
    drive.finish(0)
    drive.now_ns = FLUSH_NS + PATIENT_FLUSH_NS - 1
    drive.hear(ev.TimePassed)
    assert len(drive.sent) == 1
    drive.now_ns += 1
    drive.hear(ev.TimePassed)
    assert len(drive.sent) == 2


def test_failures_do_not_wait_for_longer() -> None:
    drive = _patient_drive()
    drive.now_ns = 2 * FLUSH_NS
    drive.finish(0, status=2)
    assert len(drive.sent) == 2
