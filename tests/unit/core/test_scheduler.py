"""The server's brain: what it asks for and when, stale demands, ends, fairness."""

from __future__ import annotations

import pytest

from achilles.core import scheduler_events as ev
from achilles.core import scheduler_state
from tests.unit.core.scheduler_driver import MS, Driver, of


@pytest.fixture
def drive() -> Driver:
    return Driver()


# Demand


def test_nothing_is_asked_without_a_job_or_without_a_node(drive: Driver) -> None:
    assert drive.node(0) == []
    other = Driver()
    assert other.job(7) == []


def test_a_late_node_is_asked_for_work_at_once(drive: Driver) -> None:
    drive.job(7)
    assert of(drive.node(5, cpu_count=3), ev.Demand) == [ev.Demand(7, 7, 5, 3, 1)]


def test_a_job_is_introduced_to_a_node_once_and_before_its_parcel(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    first = of(drive.parcel(7, 0, 0), ev.IntroduceJob, ev.SendParcel)
    assert [type(command) for command in first] == [ev.IntroduceJob, ev.SendParcel]
    assert not of(drive.parcel(7, 1, 0), ev.IntroduceJob)


def test_demand_grows_with_what_was_shown(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    asked = [1]
    for number in range(40):
        tasks = 2 * asked[number]
        commands = drive.parcel(7, number, 0, tasks=tasks)
        commands += drive.results(0, 7, number, tasks=tasks, busy_us=tasks)
        asked += [demand.packets for demand in of(commands, ev.Demand)]
    assert max(asked[:3]) <= 10
    assert asked[-1] * 2 >= 5_000  # microsecond tasks: five milliseconds of them and more


def test_a_node_holds_about_its_window(drive: Driver) -> None:
    drive.node(0, cpu_count=4)
    drive.job(7)
    demands = of(drive.parcel(7, 0, 0, tasks=4), ev.Demand)
    drive.results(0, 7, 0, tasks=4, busy_us=4 * 500)
    number = 1
    while demands and number < 1_000:
        demand = demands.pop()
        demands += of(drive.parcel(7, number, 0, tasks=demand.packets * 4), ev.Demand)
        number += 1
    node = drive.brain.nodes[0]
    assert 0.5 * node.window_ns <= node.work_ns <= 1.5 * node.window_ns


def test_a_job_of_short_tasks_is_asked_for_more_than_a_packet_beside_long_ones(drive: Driver) -> None:
    drive.node(0)
    drive.job(1)
    demands = of(drive.parcel(1, 0, 0) + drive.results(0, 1, 0, busy_us=20), ev.Demand)
    drive.job(2)
    for number in range(2):
        drive.parcel(2, number, 0)
        drive.results(0, 2, number, busy_us=2_000_000)
    drive.parcel(2, 2, 0)
    number = 1
    while number < 30:  # the node is full of seconds, and job 1 runs in between
        demand = [demand for demand in demands if demand.job == 1][-1]
        assert not drive.brain.nodes[0].has_room()
        tasks = 2 * demand.packets
        demands = of(drive.parcel(1, number, 0, tasks=tasks), ev.Demand)
        demands += of(drive.results(0, 1, number, tasks=tasks, busy_us=10 * tasks), ev.Demand)
        number += 1
    assert tasks >= 200


def test_very_long_tasks_are_asked_for_two_parcels_ahead(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    drive.results(0, 7, 0, busy_us=2 * 3_600_000_000)
    drive.parcel(7, 1, 0)
    assert not of(drive.parcel(7, 2, 0), ev.Demand)
    assert len(drive.brain.nodes[0].parcels) == 2


def test_open_demands_are_bounded(drive: Driver) -> None:
    for node in range(200):
        drive.node(node)
    assert len(of(drive.job(7), ev.Demand)) == scheduler_state.MAX_OPEN_DEMANDS
    assert len(of(drive.parcel(7, 0, 0), ev.Demand)) >= 1


# Stale demands


def test_an_unanswered_demand_gives_its_room_to_others(drive: Driver) -> None:
    drive.node(0, cpu_count=1)
    (wake,) = of(drive.job(7), ev.WakeAt)
    drive.job(8)
    drive.now_ns = wake.at_ns
    drive.hear(ev.TimePassed)
    drive.parcel(8, 0, 0)
    drive.parcel(8, 1, 0)
    node = drive.brain.nodes[0]
    assert set(node.parcels_of) == {8}
    assert 7 not in node.reserved


def test_a_stalled_job_is_served_again_when_it_answers(drive: Driver) -> None:
    drive.node(0)
    drive.node(1)
    (wake,) = of(drive.job(7), ev.WakeAt)
    drive.now_ns = wake.at_ns
    assert not of(drive.hear(ev.TimePassed), ev.Demand)
    assert drive.brain.jobs[7].stalled
    commands = drive.parcel(7, 0, 0)
    assert of(commands, ev.SendParcel)
    assert {demand.node for demand in of(commands, ev.Demand)} == {0}  # node 1 still waits for its own


def test_a_job_whose_only_demand_stalled_at_a_lost_node_is_asked_again(drive: Driver) -> None:
    drive.node(0)
    (wake,) = of(drive.job(7), ev.WakeAt)
    drive.now_ns = wake.at_ns
    drive.hear(ev.TimePassed)
    drive.node(1)
    assert [demand.node for demand in of(drive.hear(ev.NodeLost, 0), ev.Demand)] == [1]
    # The answer to the first demand comes after all: nothing of it may be lost.
    assert of(drive.parcel(7, 0, 0), ev.Resend) == [ev.Resend(7, 7, 0, 2, 1)]


def test_a_slow_generator_does_not_pay_for_what_it_was_only_asked(drive: Driver) -> None:
    drive.node(0, cpu_count=1)
    drive.job(1)
    drive.job(2)
    due = drive.brain._due
    drive.now_ns = 10_000 * MS
    drive.hear(ev.TimePassed)
    assert due.due_at(1) == 0.0
    drive.parcel(1, 0, 0, tasks=1)
    drive.hear(ev.InputEnded, 1)
    drive.parcel(2, 0, 0, tasks=1)  # so that job 1 is not the only one to be charged
    assert due.due_at(1) == 10.0 * MS  # one task of unknown length


# Ends


def test_a_job_finishes_when_input_ended_and_all_is_back(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    assert not of(drive.hear(ev.InputEnded, 7), ev.FinishJob)
    commands = drive.results(0, 7, 0)
    assert of(commands, ev.ForwardResults, ev.FinishJob, ev.ForgetJob) == [
        ev.ForwardResults(7, 7, 0, 1),
        ev.FinishJob(7, 7),
        ev.ForgetJob(0, 7),
    ]
    assert drive.hear(ev.InputEnded, 7) == []


def test_the_last_parcel_may_say_that_it_is(drive: Driver) -> None:
    drive.node(0)
    drive.node(1)
    drive.job(7)
    commands = drive.hear(ev.ParcelArrived, 7, 0, 0, 2, 10, last=True)
    assert not of(commands, ev.Demand, ev.FinishJob)
    assert not drive.brain.jobs[7].open_demands and not drive.brain.nodes[1].reserved
    assert of(drive.results(0, 7, 0), ev.FinishJob)


def test_a_job_without_tasks_finishes_at_once_even_without_nodes(drive: Driver) -> None:
    drive.job(7)
    assert of(drive.hear(ev.InputEnded, 7), ev.FinishJob)


def test_an_empty_parcel_is_done_by_its_empty_result(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0, tasks=0)
    drive.hear(ev.InputEnded, 7)
    assert of(drive.results(0, 7, 0, tasks=0, busy_us=0), ev.FinishJob)


def test_a_cancelled_job_leaves_no_trace_and_its_room_goes_to_others(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0)
    drive.parcel(7, 1, 0)
    commands = drive.hear(ev.JobCancelled, 7)
    assert of(commands, ev.ForgetJob) == [ev.ForgetJob(0, 7)]
    node = drive.brain.nodes[0]
    assert not (node.parcels or node.reserved or node.jobs or node.parcels_of)
    assert node.work_ns == node.reserved_ns == 0.0
    for late in (drive.results(0, 7, 0), drive.parcel(7, 2, 0), drive.hear(ev.JobCancelled, 7)):
        assert late == []


# Fairness between jobs


def run_fairly(drive: Driver, task_us: dict[int, int], rounds: int) -> dict[int, int]:
    """Feed every demand at once and finish parcels in turn; returns the time each job used, µs."""
    used = dict.fromkeys(task_us, 0)
    parcels: list[tuple[int, int, int]] = []
    numbers = dict.fromkeys(task_us, 0)
    asked: list[ev.Demand] = []
    for job in task_us:
        asked += of(drive.job(job), ev.Demand)
    for _ in range(rounds):
        while asked:
            demand = asked.pop(0)
            tasks = demand.packets * demand.cpu_count
            asked += of(drive.parcel(demand.job, numbers[demand.job], demand.node, tasks=tasks), ev.Demand)
            parcels.append((demand.job, numbers[demand.job], tasks))
            numbers[demand.job] += 1
        job, number, tasks = parcels.pop(0)
        used[job] += tasks * task_us[job]
        asked += of(drive.results(0, job, number, tasks=tasks, busy_us=tasks * task_us[job]), ev.Demand)
    return used


@pytest.mark.parametrize("task_us", [{1: 1_000, 2: 1_000}, {1: 50, 2: 500, 3: 5_000}])
def test_jobs_share_time_whatever_their_tasks_take(task_us: dict[int, int]) -> None:
    drive = Driver()
    drive.node(0, cpu_count=2)
    used = run_fairly(drive, task_us, 2_000)
    assert max(used.values()) <= 1.3 * min(used.values())


def test_a_newcomer_is_asked_even_when_the_node_is_full(drive: Driver) -> None:
    drive.node(0)
    drive.job(1)
    for number in range(6):
        drive.parcel(1, number, 0, tasks=100)
    assert not drive.brain.nodes[0].has_room()
    assert [demand.job for demand in of(drive.job(2), ev.Demand)] == [2]
