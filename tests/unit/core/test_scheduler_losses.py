"""The server's brain when nodes go: attempts, room that falls free, draining, versions of Python."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import VERSION_PATIENCE_NS
from tests.unit.core.scheduler_driver import MS, Driver, of


@pytest.fixture
def drive() -> Driver:
    return Driver()


# Attempts


def test_a_lost_parcel_is_asked_for_again_as_the_next_attempt(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    drive.node(1)
    commands = drive.hear(ev.NodeLost, 0)
    assert of(commands, ev.Resend) == [ev.Resend(7, 7, 0, 2, 1)]
    sent = of(drive.parcel(7, 0, 1, attempt=2), ev.SendParcel)
    assert sent == [ev.SendParcel(1, 7, 0, 2)]


def test_a_parcel_is_given_up_after_as_many_lost_nodes_as_attempts(drive: Driver) -> None:
    drive.job(7)
    for node in range(3):
        drive.node(node)
        drive.parcel(7, 0, node, attempt=node + 1)
        commands = drive.hear(ev.NodeLost, node)
        assert bool(of(commands, ev.FailParcel)) == (node == 2)
    assert of(drive.hear(ev.InputEnded, 7), ev.FinishJob)


def test_the_answer_to_a_resend_that_was_given_up_is_not_taken_for_a_new_parcel() -> None:
    drive = Driver(max_attempts=1)
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    assert of(drive.hear(ev.NodeLost, 0), ev.FailParcel)
    drive.node(1)
    assert not of(drive.parcel(7, 0, 1, attempt=2), ev.SendParcel)
    assert of(drive.hear(ev.InputEnded, 7), ev.FinishJob)


def test_a_node_lost_before_the_parcel_reached_it_costs_no_attempt() -> None:
    drive = Driver(max_attempts=2)
    drive.job(7)
    for node in range(5):
        drive.node(node)
        assert not of(drive.hear(ev.NodeLost, node), ev.FailParcel)
        if node == 0:  # the answer to its demand comes when it is gone
            drive.parcel(7, 0, 0)
    drive.node(5)
    attempt = drive.brain.jobs[7].parcels[0].attempt
    assert of(drive.parcel(7, 0, 5, attempt=attempt), ev.SendParcel)


def test_late_results_of_a_lost_node_are_ignored(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    drive.node(1)
    drive.hear(ev.NodeLost, 0)
    assert drive.results(0, 7, 0) == []
    drive.parcel(7, 0, 1, attempt=2)
    assert not of(drive.results(1, 7, 0, attempt=1), ev.ForwardResults)
    assert of(drive.results(1, 7, 0, attempt=2), ev.ForwardResults)
    assert not of(drive.results(1, 7, 0, attempt=2), ev.ForwardResults)


def test_an_answer_to_an_older_resend_is_ignored(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    drive.hear(ev.NodeLost, 0)
    drive.node(1)
    drive.hear(ev.NodeLost, 1)
    drive.node(2)
    assert not of(drive.parcel(7, 0, 1, attempt=2), ev.SendParcel)
    assert of(drive.parcel(7, 0, 2, attempt=3), ev.SendParcel) == [ev.SendParcel(2, 7, 0, 3)]


# Room that falls free


def test_bytes_that_fall_free_reach_every_node_with_room(drive: Driver) -> None:
    drive.node(0)
    drive.job(7, most_bytes=100)
    drive.parcel(7, 0, 0, size=100)
    assert of(drive.node(1), ev.Demand) == []  # too many bytes are out
    commands = drive.results(0, 7, 0)
    assert 1 in {demand.node for demand in of(commands, ev.Demand)}


def test_bytes_of_a_draining_node_that_fall_free_are_asked_of_others(drive: Driver) -> None:
    drive.node(0)
    drive.job(7, most_bytes=100)
    drive.parcel(7, 0, 0, size=100)
    drive.hear(ev.NodeDraining, 0)
    drive.node(1)
    assert [demand.node for demand in of(drive.results(0, 7, 0), ev.Demand)] == [1]


def test_bytes_of_a_parcel_given_up_are_asked_for_again() -> None:
    drive = Driver(max_attempts=1)
    drive.node(0)
    drive.job(7, most_bytes=100)
    drive.parcel(7, 0, 0, size=100)
    drive.node(1)
    commands = drive.hear(ev.NodeLost, 0)
    assert of(commands, ev.FailParcel)
    assert of(commands, ev.Demand)


# Draining


def test_a_draining_node_is_asked_for_nothing_more(drive: Driver) -> None:
    drive.node(0)
    drive.hear(ev.NodeDraining, 0)
    assert of(drive.job(7), ev.Demand) == []
    drive.node(1)
    assert {demand.node for demand in of(drive.parcel(7, 0, 1), ev.Demand)} <= {1}


def test_a_parcel_on_its_way_to_a_draining_node_goes_to_another(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.hear(ev.NodeDraining, 0)
    drive.node(1)
    commands = drive.parcel(7, 0, 0)
    assert not of(commands, ev.SendParcel)
    assert of(commands, ev.Resend) == [ev.Resend(7, 7, 0, 2, 1)]
    drive.hear(ev.NodeDraining, 1)
    drive.node(2)
    assert of(drive.parcel(7, 0, 1, attempt=2), ev.Resend) == [ev.Resend(7, 7, 0, 3, 2)]
    assert of(drive.parcel(7, 0, 2, attempt=3), ev.SendParcel)


def test_a_draining_node_still_reports(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    drive.hear(ev.NodeDraining, 0)
    assert of(drive.results(0, 7, 0), ev.ForwardResults)
    drive.hear(ev.NodeLost, 0)
    assert of(drive.hear(ev.InputEnded, 7), ev.FinishJob)


# Python versions


def test_a_job_that_no_present_node_can_run_is_refused_at_once_with_the_remedy(drive: Driver) -> None:
    drive.node(0, python=(3, 11))
    drive.node(1, python=(3, 13))
    drive.now_ns = VERSION_PATIENCE_NS
    (failed,) = of(drive.job(7, python=(3, 12)), ev.FailJob)
    assert failed.code == "version"
    for part in ("3.12", "3.11", "3.13", "start a node", "module"):
        assert part in failed.reason
    assert not drive.brain.jobs


def test_bytecode_goes_only_to_its_own_python(drive: Driver) -> None:
    drive.node(0, python=(3, 11))
    drive.node(1, python=(3, 12))
    assert {demand.node for demand in of(drive.job(7, python=(3, 12)), ev.Demand)} == {1}
    drive.parcel(7, 0, 1)
    commands = drive.hear(ev.NodeLost, 1)
    assert not of(commands, ev.Resend)


def test_a_job_submitted_to_a_server_that_has_just_started_is_not_refused_at_once(drive: Driver) -> None:
    """It may be one that the server knew before; its nodes are on their way back as well."""
    drive.node(0, python=(3, 11))
    drive.now_ns = VERSION_PATIENCE_NS - 1
    commands = drive.job(7, python=(3, 12))
    assert not of(commands, ev.FailJob)
    (wake,) = of(commands, ev.WakeAt)
    assert of(drive.node(1, python=(3, 12)), ev.Demand)
    drive.now_ns = wake.at_ns
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)


def test_a_job_is_not_refused_at_once_when_the_last_that_could_run_it_has_just_gone(drive: Driver) -> None:
    """The network between the server and half of the machines failed, and this comes back before them."""
    drive.node(0, python=(3, 11))
    drive.node(1, python=(3, 12))
    drive.now_ns = 2 * VERSION_PATIENCE_NS
    drive.hear(ev.NodeLost, 1)
    drive.now_ns += VERSION_PATIENCE_NS - 1
    assert not of(drive.job(7, python=(3, 12)), ev.FailJob)
    drive.now_ns += 1
    assert of(drive.job(8, python=(3, 12)), ev.FailJob)


@pytest.mark.parametrize("departs", [False, True])
def test_a_job_without_its_python_waits_a_while_and_is_told(drive: Driver, departs: bool) -> None:
    """Nodes come back one by one after a restart: the first to come must not end everybody's jobs."""
    if departs:
        drive.node(0, python=(3, 12))
        drive.node(1, python=(3, 11))
        drive.job(7, python=(3, 12))
        commands = drive.hear(ev.NodeLost, 0)
    else:
        drive.job(7, python=(3, 12))
        commands = drive.node(1, python=(3, 11))
    assert not of(commands, ev.FailJob)
    (wake,) = of(commands, ev.WakeAt)
    drive.now_ns = wake.at_ns - 1
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)
    drive.now_ns = wake.at_ns
    (failed,) = of(drive.hear(ev.TimePassed), ev.FailJob)
    assert failed.job == 7
    assert not drive.brain.jobs


def test_a_job_whose_python_comes_back_goes_on(drive: Driver) -> None:
    drive.node(0, python=(3, 12))
    drive.node(1, python=(3, 11))
    drive.job(7, python=(3, 12))
    drive.parcel(7, 0, 0)
    (wake,) = of(drive.hear(ev.NodeLost, 0), ev.WakeAt)[-1:]
    assert of(drive.node(2, python=(3, 12)), ev.Resend)
    drive.now_ns = wake.at_ns
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)
    # A second absence has its own patience.
    commands = drive.hear(ev.NodeLost, 2)
    drive.now_ns += 1
    assert not of(commands + drive.hear(ev.TimePassed), ev.FailJob)


def test_a_job_waits_for_ever_while_there_is_no_node_at_all(drive: Driver) -> None:
    drive.node(0, python=(3, 12))
    drive.job(7, python=(3, 12))
    drive.hear(ev.NodeLost, 0)
    drive.now_ns += 3_600_000 * MS
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)
    assert 7 in drive.brain.jobs
