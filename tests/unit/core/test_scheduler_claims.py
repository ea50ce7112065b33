"""A scheduler does not believe what nodes and controllers say, it checks."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core.scheduler_state import MAX_UNASKED
from achilles.errors import ProtocolError

from .scheduler_driver import Driver, of


def served() -> Driver:
    """Node 0 has parcel 0 of job 1: items 0 and 1."""
    driver = Driver()
    driver.node(0)
    driver.job(1)
    driver.parcel(1, 0, 0)
    return driver


@pytest.mark.parametrize(
    "segments",
    [
        [(0, 3, 0, 1)],
        [(1, 2, 0, 1)],
        [(5, 1, 0, 1)],
        [(0, 1, 0, 1), (0, 1, 0, 1)],
        [(0, 2, 0, 1), (1, 1, 0, 1)],
        [(0, 0, 0, 1)],
        [(0, 2**63 - 1, 0, 1)],
    ],
)
def test_results_lie_within_their_parcel(segments: list[ev.Segment]) -> None:
    driver = served()
    with pytest.raises(ProtocolError, match="results of parcel 0"):
        driver.hear(ev.ResultsArrived, 0, 1, 0, 1, segments)
    assert (driver.brain.jobs[1].tasks_done, driver.brain.nodes[0].tasks_done) == (0, 0)
    assert of(driver.results(0, 1, 0), ev.ForwardResults)


def test_results_come_once() -> None:
    driver = served()
    driver.results(0, 1, 0, tasks=1)
    with pytest.raises(ProtocolError, match="came before"):
        driver.results(0, 1, 0, tasks=1)
    assert driver.brain.jobs[1].tasks_done == 1


def test_results_of_a_parcel_that_is_still_on_its_way_are_made_up() -> None:
    driver = served()
    driver.hear(ev.NodeLost, 0)
    driver.node(1)
    assert of(driver.hear(ev.TimePassed), ev.Resend) == []  # node 1 was asked when it joined
    with pytest.raises(ProtocolError, match="before the parcel was sent"):
        driver.results(1, 1, 0, attempt=2)


def test_no_slot_was_busy_for_longer_than_the_clock_says() -> None:
    driver = served()
    driver.now_ns += 1_000_000
    driver.results(0, 1, 0, busy_us=2**62)
    assert driver.brain.jobs[1].task_ns is not None
    assert driver.brain.jobs[1].task_ns <= 1e9


def test_parcels_answer_demands() -> None:
    driver = served()
    asked = driver.brain.jobs[1].asked
    for parcel in range(1, 1 + MAX_UNASKED):
        driver.parcel(1, parcel, 99)
    assert len(driver.brain.jobs[1].parcels) <= 1 + asked + MAX_UNASKED
    with pytest.raises(ProtocolError, match="not asked for"):
        send_many(driver)


def send_many(driver: Driver) -> None:
    for parcel in range(1000, 2000):
        driver.parcel(1, parcel, 99)


def test_a_parcel_that_comes_again_is_what_it_was() -> None:
    driver = served()
    driver.hear(ev.NodeLost, 0)
    driver.node(1)
    with pytest.raises(ProtocolError, match="other items"):
        driver.parcel(1, 0, 1, tasks=2**60, attempt=2)
    assert of(driver.parcel(1, 0, 1, attempt=2), ev.SendParcel)


def test_a_parcel_that_nobody_asked_for_is_asked_for_when_there_is_room() -> None:
    """A controller that finds its server again may still send what the lost one had asked for."""
    driver = Driver()
    driver.job(1)
    assert of(driver.parcel(1, 7, 99), ev.SendParcel, ev.Resend) == []
    assert of(driver.node(0), ev.Resend) == [ev.Resend(1, 1, 7, 2, 0)]
    assert of(driver.parcel(1, 7, 0, attempt=2), ev.SendParcel)
    driver.results(0, 1, 7, attempt=2)
    assert of(driver.hear(ev.InputEnded, 1), ev.FinishJob)


def test_nobody_gives_back_unasked() -> None:
    driver = served()
    with pytest.raises(ProtocolError, match="nobody asked for it"):
        driver.hear(ev.ParcelReturned, 0, 1, 0, 1, True)
    driver.hear(ev.NodeDraining, 0)
    driver.hear(ev.ParcelReturned, 0, 1, 0, 1, True)
    assert driver.brain.jobs[1].parcels[0].attempt == 2


def test_versions_of_nodes_that_are_gone_are_forgotten() -> None:
    driver = Driver()
    for minor in range(100):
        driver.node(minor, python=(3, minor))
        driver.hear(ev.NodeLost, minor)
    assert not driver.brain._roomy


def test_room_that_a_second_copy_of_a_parcel_gives_back_is_used() -> None:
    driver = served()
    assert 0 in driver.brain.jobs[1].open_demands  # the first copy left room for another
    assert [demand.node for demand in of(driver.parcel(1, 0, 0), ev.Demand)] == [0]
