"""The server's brain: jobs for one node alone, by the number that the server gave it."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core.node_names import NamePatterns
from tests.unit.core.scheduler_driver import Driver, of


@pytest.fixture
def drive() -> Driver:
    drive = Driver()
    for number in range(2):
        drive.hear(ev.NodeJoined, number, 4, (3, 11), names=("twin", "10.0.0.1"))
    return drive


def nodes_of(commands: list[ev.Command]) -> set[int]:
    return {command.node for command in of(commands, ev.Demand, ev.Resend)}


def test_numbers_tell_nodes_apart_that_have_one_name(drive: Driver) -> None:
    assert nodes_of(drive.job(7, nodes=("#1",))) == {1}
    assert nodes_of(drive.job(8, nodes=("#0", "#1"))) == {0, 1}


def test_a_node_cannot_call_itself_by_a_number(drive: Driver) -> None:
    drive.job(7, nodes=("#0",))
    assert not nodes_of(drive.hear(ev.NodeJoined, 2, 4, (3, 11), names=("#0",)))
    (failed,) = of(drive.hear(ev.NodeLost, 0), ev.FailJob)
    assert (failed.job, failed.code) == (7, "nodes")


@pytest.mark.parametrize("others", [True, False])
def test_when_it_is_gone_the_job_is_refused_at_once(drive: Driver, others: bool) -> None:
    drive.job(7, nodes=("#0",))
    drive.parcel(7, 0, 0)
    if not others:
        drive.hear(ev.NodeLost, 1)
    commands = drive.hear(ev.NodeLost, 0)
    assert [(failed.job, failed.code) for failed in of(commands, ev.FailJob)] == [(7, "nodes")]
    assert not of(commands, ev.Resend)
    assert not drive.brain.jobs
    # And any that comes later: the number is never given again.
    assert [failed.job for failed in of(drive.job(8, nodes=("#0",)), ev.FailJob)] == [8]
    assert not drive.brain.jobs


def test_another_jobs_patience_is_as_ever(drive: Driver) -> None:
    (wake,) = of(drive.job(6, nodes=("bob",)), ev.WakeAt)
    drive.job(7, nodes=("#0",))
    assert [failed.job for failed in of(drive.hear(ev.NodeLost, 0), ev.FailJob)] == [7]
    drive.now_ns = wake.at_ns
    assert [failed.job for failed in of(drive.hear(ev.TimePassed), ev.FailJob)] == [6]


def test_what_waits_there_is_not_taken_by_an_idle_node(drive: Driver) -> None:
    drive.job(7, nodes=("#0",))
    for number in range(4):
        drive.parcel(7, number, 0, tasks=8)
    drive.hear(ev.InputEnded, 7)
    assert not of(drive.hear(ev.NodeJoined, 2, 8, (3, 11)), ev.TakeBack)


@pytest.mark.parametrize(
    ("patterns", "is_number"),
    [(("#3",), True), (("#",), False), (("#3", "#4"), False), (("#x",), False), (("a",), False)],
)
def test_what_is_a_number(patterns: tuple[str, ...], is_number: bool) -> None:
    assert NamePatterns(patterns).is_number == is_number
