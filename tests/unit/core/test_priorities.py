"""The server's brain: jobs of a higher priority get nodes first, at full ones as well."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core.scheduler_state import MAX_JOBS_PER_NODE
from tests.unit.core.scheduler_driver import MS, Driver, of


@pytest.fixture
def drive() -> Driver:
    return Driver()


def fill(drive: Driver, job: int, node: int, first: int = 0, task_ms: int = 1000) -> int:
    """Parcels of long tasks, until the node is full for the job; the number of the next one."""
    number = first
    while node in drive.brain.jobs[job].open_demands:
        drive.parcel(job, number, node)
        if number == 0:
            drive.results(node, job, number, busy_us=2_000 * task_ms)
        number += 1
        assert number < 100
    return number


def asked(commands: list[ev.Command]) -> list[tuple[int, int]]:
    return [(demand.job, demand.node) for demand in of(commands, ev.Demand)]


def test_room_goes_to_the_higher_priority_until_it_has_enough(drive: Driver) -> None:
    drive.job(1)
    drive.job(2, priority=3)
    drive.job(3, priority=-3)
    assert next(demand.job for demand in of(drive.node(0, cpu_count=1), ev.Demand)) == 2


def test_a_full_node_is_as_good_as_empty_for_a_higher_priority(drive: Driver) -> None:
    drive.node(0)
    drive.job(1)
    fill(drive, 1, 0)
    lying = len(drive.brain.nodes[0].parcels)
    assert asked(drive.job(2, priority=1)) == [(2, 0)]
    number = fill(drive, 2, 0)
    # As many as it would have got alone, and nothing more of the other meanwhile.
    assert len(drive.brain.nodes[0].parcels) == lying + 2 and number >= 2
    assert 0 not in drive.brain.jobs[1].open_demands


def test_what_has_a_lower_priority_waits_while_the_higher_wants(drive: Driver) -> None:
    drive.node(0)
    drive.job(1, priority=1)
    fill(drive, 1, 0)
    # An equal one may add a parcel to the full node, a lower one has to wait.
    assert asked(drive.job(2)) == []
    assert asked(drive.job(3, priority=1)) == [(3, 0)]


def test_the_lower_priority_takes_what_the_higher_leaves(drive: Driver) -> None:
    drive.node(0)
    drive.job(1, priority=1)
    number = fill(drive, 1, 0)
    drive.job(2)
    drive.hear(ev.InputEnded, 1)
    commands = []
    for parcel in range(1, number):
        commands += drive.results(0, 1, parcel, busy_us=2_000_000)
    assert (2, 0) in asked(commands)
    assert 1 not in drive.brain.jobs


def test_other_nodes_are_found_when_a_high_job_wants_again(drive: Driver) -> None:
    """Its demand stalled while the nodes were filled with others' work; when it answers, all are asked."""
    for node in range(3):
        drive.node(node)
    (wake,) = of(drive.job(2, priority=1), ev.WakeAt)
    drive.now_ns = wake.at_ns
    drive.hear(ev.TimePassed)
    assert drive.brain.jobs[2].stalled
    drive.node(3)
    drive.job(1)
    for node in range(4):
        fill(drive, 1, node)
    assert not any(node.has_room() for node in drive.brain.nodes.values())
    assert (2, 3) in asked(drive.parcel(2, 0, 0))


def test_lost_parcels_of_a_high_job_go_to_full_nodes_at_once(drive: Driver) -> None:
    drive.node(0)
    drive.job(2, priority=1)
    drive.parcel(2, 0, 0)
    drive.job(1)
    drive.node(1)
    for _ in range(3):  # the high job answers nothing for node 1 meanwhile
        drive.now_ns += 200 * MS
        drive.hear(ev.TimePassed)
    fill(drive, 1, 1)
    resent = of(drive.hear(ev.NodeLost, 0), ev.Resend)
    assert [(command.job, command.node) for command in resent] == [(2, 1)]


def test_many_low_jobs_do_not_shut_a_high_one_out(drive: Driver) -> None:
    drive.node(0)
    for job in range(MAX_JOBS_PER_NODE):
        drive.job(job)
        fill(drive, job, 0)
    assert asked(drive.job(99)) == []
    assert asked(drive.job(100, priority=1)) == [(100, 0)]


def test_default_jobs_come_before_those_below_them_that_were_there_first(drive: Driver) -> None:
    drive.node(0)
    drive.job(1, priority=-5)
    fill(drive, 1, 0)
    assert asked(drive.job(2)) == [(2, 0)]
    assert fill(drive, 2, 0) >= 2


def test_what_waits_is_taken_back_in_the_order_of_priorities(drive: Driver) -> None:
    drive.node(0)
    drive.job(2, priority=1)
    number = fill(drive, 2, 0)
    drive.hear(ev.InputEnded, 2)
    drive.job(1)
    fill(drive, 1, 0)
    drive.hear(ev.InputEnded, 1)
    (back,) = of(drive.node(1), ev.TakeBack)
    assert back.job == 2 and back.parcel == number - 1


def test_a_job_costs_nothing_more_when_others_with_a_priority_are_gone(drive: Driver) -> None:
    drive.node(0)
    drive.job(1)
    drive.job(2, priority=9)
    drive.hear(ev.JobCancelled, 2)
    drive.job(3)
    assert drive.brain._due.is_flat and not drive.brain._groups
    assert not drive.brain.nodes[0].groups


@pytest.mark.parametrize("count", [50])
def test_many_priorities_keep_their_order(drive: Driver, count: int) -> None:
    drive.node(0, cpu_count=1)
    for job in range(count):
        drive.job(job, priority=job * 7 % count)
    drive.hear(ev.NodeLost, 0)
    first = [job for job, _ in asked(drive.node(1, cpu_count=1))]
    by_priority = sorted(range(count), key=lambda job: -(job * 7 % count))
    assert first == by_priority[: len(first)] and first
