"""The server's brain: jobs that only some nodes may run, and tasks that take several slots."""

from __future__ import annotations

import pytest

from achilles.core import pythons
from achilles.core import scheduler_events as ev
from achilles.core.node_names import NamePatterns, listed
from achilles.core.scheduler_state import MAX_OPEN_DEMANDS
from tests.unit.core.scheduler_driver import MS, Driver, of


@pytest.fixture
def drive() -> Driver:
    drive = Driver()
    drive.hear(ev.NodeJoined, 0, 4, (3, 11), names=("Alice", "10.0.0.1"))
    drive.hear(ev.NodeJoined, 1, 8, (3, 11), names=("gpu-7.lab", "10.0.1.2"))
    return drive


def nodes_of(commands: list[ev.Command]) -> set[int]:
    return {command.node for command in of(commands, ev.Demand, ev.Resend)}


@pytest.mark.parametrize(
    ("patterns", "nodes"),
    [
        (("gpu*",), {1}),
        (("ALICE",), {0}),
        (("alic",), set()),
        (("10.0.*",), {0, 1}),
        (("10.0.0.?", "nobody"), {0}),
        (("[!a]*.lab",), {1}),
    ],
)
def test_parcels_go_to_nodes_whose_name_or_address_matches(
    drive: Driver, patterns: tuple[str, ...], nodes: set[int]
) -> None:
    commands = drive.job(7, nodes=patterns)
    assert nodes_of(commands) == nodes
    late = drive.hear(ev.NodeJoined, 2, 2, (3, 11), names=("gpu-8.lab",))
    assert nodes_of(late) == ({2} if patterns in (("gpu*",), ("[!a]*.lab",)) else set())


def test_what_was_lost_or_taken_back_stays_among_its_nodes(drive: Driver) -> None:
    drive.hear(ev.NodeJoined, 2, 1, (3, 11), names=("gpu-8",))
    drive.job(7, nodes=("gpu*",))
    for number in range(4):
        drive.parcel(7, number, 1, tasks=8)
    drive.hear(ev.InputEnded, 7)
    assert not of(drive.hear(ev.NodeJoined, 3, 9, (3, 11), names=("bob",)), ev.TakeBack)
    (back,) = of(drive.hear(ev.NodeJoined, 4, 2, (3, 11), names=("gpu-9",)), ev.TakeBack)
    assert nodes_of(drive.hear(ev.ParcelReturned, 1, 7, back.parcel, 1, True)) <= {2, 4}
    assert nodes_of(drive.hear(ev.NodeLost, 1)) <= {2, 4}


def test_a_late_parcel_is_copied_to_its_own_nodes_only(drive: Driver) -> None:
    drive.hear(ev.NodeJoined, 2, 8, (3, 11), names=("gpu-8",))
    drive.job(7, nodes=("gpu*",), speculate=True)
    for number, node in enumerate((1, 2)):
        drive.parcel(7, number, node, tasks=8)
    drive.hear(ev.InputEnded, 7)
    drive.now_ns = 10_000 * MS
    late = drive.results(2, 7, 1, tasks=8, busy_us=8_000)
    drive.now_ns += 10_000 * MS
    late += drive.hear(ev.TimePassed)
    assert [(copy.parcel, copy.node) for copy in of(late, ev.Resend) if copy.beside] == [(0, 2)]


def test_a_parcel_that_is_sent_where_it_may_not_run_goes_elsewhere(drive: Driver) -> None:
    drive.job(7, nodes=("gpu*",))
    commands = drive.parcel(7, 0, 0)
    assert not of(commands, ev.SendParcel)
    assert nodes_of(commands) == {1}


@pytest.mark.parametrize(("slots", "cpu_counts"), [(1, {4, 8}), (2, {2, 4}), (3, {1, 2}), (5, {1}), (8, {1})])
def test_a_node_runs_as_many_tasks_as_their_slots_go_into_it(
    drive: Driver, slots: int, cpu_counts: set[int]
) -> None:
    demands = of(drive.job(7, slots=slots), ev.Demand)
    assert {demand.cpu_count for demand in demands} == cpu_counts


def test_a_node_that_cannot_keep_several_slots_gets_no_such_task(drive: Driver) -> None:
    drive.hear(ev.NodeJoined, 2, 64, (3, 11), names=("old",), shares_slots=False)
    assert nodes_of(drive.job(7, slots=2)) == {0, 1}
    assert nodes_of(drive.job(8)) == {0, 1, 2}


def test_time_counts_for_each_slot(drive: Driver) -> None:
    """Of two jobs, the one whose tasks take four slots gets a quarter of the tasks, and equal time."""
    drive.hear(ev.NodeLost, 0)
    drive.job(1)
    drive.job(2, slots=4)
    done = {1: 0, 2: 0}
    numbers = {1: 0, 2: 0}
    here: list[tuple[int, int, int]] = []
    while sum(done.values()) < 4_000:
        drive.now_ns += 10 * MS
        for job in (1, 2):
            if 1 in drive.brain.jobs[job].open_demands:
                tasks = {1: 8, 2: 2}[job]
                drive.parcel(job, numbers[job], 1, tasks=tasks)
                here.append((job, numbers[job], tasks))
                numbers[job] += 1
        job, number, tasks = here.pop(0)
        drive.results(1, job, number, tasks=tasks, busy_us=10_000 * tasks)
        done[job] += tasks
    assert 3.5 <= done[1] / done[2] <= 4.5


# Nobody can run it.


def test_a_job_that_no_node_may_run_waits_a_while_and_is_told_who_there_is(drive: Driver) -> None:
    commands = drive.job(7, nodes=("Bob", "carol*"))
    assert not of(commands, ev.FailJob, ev.Demand)
    (wake,) = of(commands, ev.WakeAt)
    assert wake.at_ns == pythons.VERSION_PATIENCE_NS
    drive.now_ns = wake.at_ns - 1
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)
    drive.now_ns = wake.at_ns
    (failed,) = of(drive.hear(ev.TimePassed), ev.FailJob)
    assert (failed.job, failed.code) == (7, "nodes")
    assert "`bob` and `carol*`" in failed.reason
    assert "Alice (10.0.0.1) and gpu-7.lab (10.0.1.2)" in failed.reason
    assert not drive.brain.jobs


def test_one_that_comes_in_time_is_used(drive: Driver) -> None:
    (wake,) = of(drive.job(7, nodes=("bob",)), ev.WakeAt)
    drive.now_ns = wake.at_ns - 1
    assert nodes_of(drive.hear(ev.NodeJoined, 2, 1, (3, 11), names=("bob",))) == {2}
    drive.now_ns = wake.at_ns
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)
    # Another absence has a patience of its own.
    (wake,) = of(drive.hear(ev.NodeLost, 2), ev.WakeAt)[-1:]
    assert wake.at_ns == drive.now_ns + pythons.VERSION_PATIENCE_NS


def test_without_any_node_a_job_waits_for_ever() -> None:
    drive = Driver()
    drive.job(7, nodes=("bob",), slots=2)
    drive.now_ns = 3_600_000 * MS
    assert not of(drive.hear(ev.TimePassed), ev.FailJob)


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"slots": 9}, ["9 slots", "the largest node, gpu-7.lab (10.0.1.2), has 8"]),
        ({"slots": 5, "nodes": ("a*",)}, ["5 slots", "among those that match `a*`, Alice (10.0.0.1), has 4"]),
        ({"python": (3, 12), "nodes": ("a*",)}, ["Python 3.12", "no node among those that match `a*`"]),
    ],
)
def test_the_reason_names_the_need(drive: Driver, needs: dict[str, object], said: list[str]) -> None:
    drive.hear(ev.NodeJoined, 2, 2, (3, 12), names=("other",))
    drive.job(7, **needs)
    drive.now_ns = pythons.VERSION_PATIENCE_NS
    (failed,) = of(drive.hear(ev.TimePassed), ev.FailJob)
    assert failed.code == "nodes"
    for part in said:
        assert part in failed.reason


def test_nodes_that_only_do_not_know_slots_are_named_as_such() -> None:
    drive = Driver()
    drive.hear(ev.NodeJoined, 0, 64, (3, 11), names=("old",), shares_slots=False)
    drive.job(7, slots=2)
    drive.now_ns = pythons.VERSION_PATIENCE_NS
    (failed,) = of(drive.hear(ev.TimePassed), ev.FailJob)
    assert "update achilles on old" in failed.reason


def test_a_reason_lists_some_of_many() -> None:
    drive = Driver()
    for node in range(1_000):
        drive.hear(ev.NodeJoined, node, 1, (3, 11), names=("n" * 250, f"10.0.0.{node}"))
    drive.job(7, nodes=tuple(f"bob{number}" for number in range(64)))
    drive.now_ns = pythons.VERSION_PATIENCE_NS
    (failed,) = of(drive.hear(ev.TimePassed), ev.FailJob)
    assert "992 more" in failed.reason and "56 more" in failed.reason
    assert len(failed.reason) < 4_000


def test_a_python_that_never_was_there_is_refused_at_once_as_ever(drive: Driver) -> None:
    drive.now_ns = pythons.VERSION_PATIENCE_NS
    (failed,) = of(drive.job(7, python=(3, 12), nodes=("a*",), slots=2), ev.FailJob)
    assert failed.code == "version"


# What it costs.


def test_who_cannot_run_them_does_not_look_at_narrow_jobs(drive: Driver) -> None:
    """Three hundred jobs wait for a full node; every event of another one must not pass over them."""
    for job in range(300):
        drive.job(job, nodes=("gpu*",))
    drive.job(1_000)
    level = drive.brain._due._levels[0]
    looked = 0

    def accepts(_: int) -> bool:
        nonlocal looked
        looked += 1
        return False

    level.first_that(accepts, drive.brain.nodes[0].groups)
    assert looked <= 1
    level.first_that(accepts, drive.brain.nodes[1].groups)
    assert looked > 200


def test_open_demands_are_bounded_for_narrow_jobs_as_well(drive: Driver) -> None:
    for node in range(2, 300):
        drive.hear(ev.NodeJoined, node, 2, (3, 11), names=(f"gpu{node}",))
    assert len(of(drive.job(7, nodes=("gpu*",)), ev.Demand)) == MAX_OPEN_DEMANDS
    assert nodes_of(drive.parcel(7, 0, 1))


def test_kinds_of_jobs_are_forgotten(drive: Driver) -> None:
    for job in range(50):
        drive.job(job, nodes=(f"*{job % 5}*",), slots=1 + job % 2)
        drive.hear(ev.JobCancelled, job)
    drive.job(99)
    assert not list(drive.brain._groups)
    assert not any(node.groups for node in drive.brain.nodes.values())


# Patterns.


def test_patterns_are_equal_whatever_their_order_and_case() -> None:
    assert NamePatterns(["B*", "a"]).patterns == NamePatterns(["A", "b*", "a"]).patterns == ("a", "b*")


@pytest.mark.parametrize("pattern", ["[", "[z-a]", "(?P<x>", "a|b", "*" * 100 + "b", "[[a]&&~~--]", "\\"])
def test_strange_patterns_match_quickly_or_nothing(pattern: str) -> None:
    NamePatterns([pattern, "gpu*"]).match(["a" * 255])
    assert NamePatterns([pattern, "gpu*"]).match(["gpu1"])


def test_listed() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"], "`") == "`a`, `b` and `c`"
    assert listed(map(str, range(10))) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
