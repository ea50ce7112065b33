"""The server's brain alone: what it asks for, sends, retries and gives up."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import scheduler_events as ev
from achilles.core import scheduler_state
from achilles.core.scheduler import STALE_NS, Scheduler
from achilles.core.scheduler_state import MAX_OPEN_DEMANDS, WINDOW_NS

MS = 1_000_000


class Driver:
    """A scheduler, a clock, and a memory of what it commanded."""

    def __init__(self, **settings: Any) -> None:
        self.brain = Scheduler(**settings)
        self.now_ns = 0

    def hear(self, event: type, *args: Any, **named: Any) -> list[ev.Command]:
        return self.brain.handle(event(self.now_ns, *args, **named))

    def node(self, node: int, cpu_count: int = 2, python: tuple[int, int] = (3, 11)) -> list[ev.Command]:
        return self.hear(ev.NodeJoined, node, cpu_count, python)

    def job(self, job: int, **named: Any) -> list[ev.Command]:
        return self.hear(ev.JobSubmitted, job, job, named.pop("chunksize", 1), **named)

    def parcel(
        self, job: int, parcel: int, node: int, tasks: int = 2, size: int = 10, attempt: int = 1
    ) -> list[ev.Command]:
        return self.hear(ev.ParcelArrived, job, parcel, node, tasks, size, attempt)

    def results(
        self, node: int, job: int, parcel: int, tasks: int = 2, attempt: int = 1, busy_us: int = 2_000
    ) -> list[ev.Command]:
        return self.hear(ev.ResultsArrived, node, job, parcel, attempt, [(0, tasks, 0, busy_us)])


@pytest.fixture
def drive() -> Driver:
    return Driver()


def of(commands: list[ev.Command], *kinds: type) -> list[Any]:
    return [command for command in commands if isinstance(command, kinds)]


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
