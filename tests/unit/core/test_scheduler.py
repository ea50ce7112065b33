"""The server's brain alone: what it asks for, sends, retries and gives up."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.core import scheduler_events as ev
from achilles.core import scheduler_state
from achilles.core.scheduler import Scheduler

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


# Room that falls free


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_state, "MAX_JOB_BYTES", 100)


@pytest.mark.usefixtures("small_budget")
def test_bytes_that_fall_free_reach_every_node_with_room(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0, size=100)
    assert of(drive.node(1), ev.Demand) == []  # too many bytes are out
    commands = drive.results(0, 7, 0)
    assert 1 in {demand.node for demand in of(commands, ev.Demand)}


@pytest.mark.usefixtures("small_budget")
def test_bytes_of_a_draining_node_that_fall_free_are_asked_of_others(drive: Driver) -> None:
    drive.node(0)
    drive.job(7)
    drive.parcel(7, 0, 0, size=100)
    drive.hear(ev.NodeDraining, 0)
    drive.node(1)
    assert [demand.node for demand in of(drive.results(0, 7, 0), ev.Demand)] == [1]


@pytest.mark.usefixtures("small_budget")
def test_bytes_of_a_parcel_given_up_are_asked_for_again() -> None:
    drive = Driver(max_attempts=1)
    drive.node(0)
    drive.job(7)
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
    assert due._virtual_time[1] == 0.0
    drive.parcel(1, 0, 0, tasks=1)
    drive.hear(ev.InputEnded, 1)
    drive.parcel(2, 0, 0, tasks=1)  # so that job 1 is not the only one to be charged
    assert due._virtual_time[1] == 10.0 * MS  # one task of unknown length


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
