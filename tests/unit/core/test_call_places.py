"""Which node single calls go to."""

from __future__ import annotations

from achilles.core import scheduler_events as ev
from tests.unit.core.scheduler_driver import Driver, of


def place(drive: Driver, job: int = 1, refused_by: int = -1) -> int | None:
    """The node, after which the job was introduced to it if it was not before."""
    known = job in drive.brain.jobs and set(drive.brain.jobs[job].nodes)
    commands = drive.hear(ev.PlaceWanted, job, refused_by)
    places = of(commands, ev.PlaceCalls)
    if not places:
        assert not commands
        return None
    node = places[0].node
    introduced = [] if node in known else [ev.IntroduceJob(node, job)]
    assert commands == [*introduced, ev.PlaceCalls(node, job)]
    return int(node)


def test_the_job_is_introduced_once_and_forgotten_although_it_sent_no_parcel() -> None:
    drive = Driver()
    drive.node(0)
    drive.job(1)
    assert place(drive) == 0 and place(drive) == 0
    assert ev.ForgetJob(0, 1) in drive.hear(ev.JobCancelled, 1)
    assert place(drive) is None


def test_a_parcel_after_a_call_does_not_introduce_the_job_again() -> None:
    drive = Driver()
    drive.node(0)
    drive.job(1)
    place(drive)
    assert of(drive.parcel(1, 0, 0), ev.IntroduceJob) == []


def test_jobs_are_spread_and_one_that_refused_is_passed_over() -> None:
    drive = Driver()
    for node in range(3):
        drive.node(node)
    for job in (1, 2, 3):
        drive.job(job)
    assert {place(drive, job) for job in (1, 2, 3)} == {0, 1, 2}
    first = place(drive, 1)
    assert first is not None
    assert place(drive, 1, refused_by=first) != first
    drive.hear(ev.NodeLost, 1)
    drive.hear(ev.NodeLost, 2)
    assert place(drive, 1, refused_by=0) == 0  # there is no other


def test_a_full_node_comes_last_and_one_that_drains_or_is_gone_or_too_old_never() -> None:
    drive = Driver()
    drive.node(0)
    drive.node(1)
    drive.job(1)
    drive.job(2)
    drive.parcel(2, 0, 0, tasks=2)
    assert place(drive) == 1
    drive.hear(ev.NodeDraining, 1)
    assert place(drive) == 0
    drive.hear(ev.NodeLost, 0)
    assert place(drive) is None
    drive.hear(ev.NodeJoined, 2, 2, (3, 11), takes_calls=False)
    assert place(drive) is None


def test_only_nodes_that_may_run_the_job() -> None:
    drive = Driver()
    drive.hear(ev.NodeJoined, 0, 2, (3, 11), names=("a",))
    drive.hear(ev.NodeJoined, 1, 2, (3, 12), names=("b",))
    drive.job(1, nodes=("b",))
    drive.job(2, python=(3, 12))
    drive.job(3, nodes=("c",))
    drive.job(4, slots=2)
    assert [place(drive, job) for job in (1, 2, 3, 4, 5)] == [1, 1, None, None, None]
