"""The three brains together, under faults that a seed decides.

A failing seed names itself; `make simulate` plays as many as one likes.
"""

from __future__ import annotations

import os

import pytest

from achilles.core.scheduler import Scheduler
from tests.simulation.calls import Call
from tests.simulation.connections import Connection
from tests.simulation.invariants import Violation
from tests.simulation.play import play, reproduction
from tests.simulation.scenario import MS, ControllerPlan, JobPlan, NodePlan, Restart, Scenario
from tests.simulation.world import World

SEEDS = int(os.environ.get("ACHILLES_SIMULATION_SEEDS") or 600)
SEEDS_PER_TEST = 100


@pytest.mark.parametrize("start", range(0, SEEDS, SEEDS_PER_TEST))
def test_small_worlds(start: int) -> None:
    for seed in range(start, min(start + SEEDS_PER_TEST, SEEDS)):
        play(seed)


def test_hundreds_of_nodes() -> None:
    play(2, "hundreds")


@pytest.mark.parametrize("seed", range(2))
def test_hundreds_of_jobs(seed: int) -> None:
    play(seed, "crowd")


def test_thousands_of_nodes() -> None:
    world = play(0, "thousands")
    assert len(world.nodes) >= 2_000


def test_a_seed_plays_the_same_run_every_time() -> None:
    first, second = play(11), play(11)
    assert (first.events, first.now_ns) == (second.events, second.now_ns)


def test_a_broken_brain_is_found_and_the_seed_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that forgets the parcels of a lost node: the simulator has to see it."""
    monkeypatch.setattr(Scheduler, "_retry", lambda self, job, parcel: None)
    for seed in range(200):
        try:
            play(seed)
        except Violation as violation:
            assert any(reproduction(seed, "small") in note for note in violation.__notes__)
            return
    pytest.fail("two hundred seeds with lost nodes, and nothing was noticed")


def test_no_machine_at_all_is_waiting_and_not_a_hang() -> None:
    world = World(Scenario(0, [], [ControllerPlan(0)], [JobPlan(0, 0, 10)])).run()
    assert world.controllers[0].calls[0].state == "runs"


def test_a_newcomer_is_served_while_a_long_job_runs() -> None:
    """A second job of little work must not wait for the end of the first."""
    jobs = [
        JobPlan(0, 0, 20_000, task_ns=1.0 * MS, ordered=False, chunksize=5),
        JobPlan(1, 0, 20, submit_ns=500 * MS, task_ns=1.0 * MS),
    ]
    world = World(Scenario(3, [NodePlan(0, 2), NodePlan(1, 4)], [ControllerPlan(0)], jobs))
    finished_ns: dict[int, int] = {}
    body = world.controllers[0]
    told = body.finished

    def finished(call: Call, connection: Connection) -> None:
        finished_ns[call.plan.job] = world.now_ns
        told(call, connection)

    body.finished = finished
    world.run()
    assert finished_ns[1] < 700 * MS
    assert finished_ns[0] > 3_000 * MS


def test_a_straggler_does_not_hold_the_job() -> None:
    """A node fifty times slower had got its parcels before another came, which takes back what waits."""
    item_ns = 2 * MS
    nodes = [NodePlan(0, 2, join_ns=20 * MS), NodePlan(1, 2, slowness=50.0)]
    jobs = [JobPlan(0, 0, 60, task_ns=float(item_ns), spread=0.0)]
    world = World(Scenario(7, nodes, [ControllerPlan(0)], jobs)).run()
    assert world.controllers[0].calls[0].state == "done"
    assert world.now_ns < 1.5 * 50 * item_ns  # what it had begun, and nothing behind it


def test_a_late_item_runs_a_second_time_where_it_may() -> None:
    """The slow node is at its first items when all others are done; it is stopped, and none comes twice."""
    took_ns = {}
    for speculate in (False, True):
        nodes = [NodePlan(0, 2), NodePlan(1, 2, slowness=200.0)]
        jobs = [JobPlan(0, 0, 60, task_ns=2.0 * MS, spread=0.0, speculate=speculate)]
        world = World(Scenario(7, nodes, [ControllerPlan(0)], jobs))
        body = world.controllers[0]
        finished_ns: list[int] = []
        body.finished = lambda *_, at=finished_ns, of=world: at.append(of.now_ns)
        world.run()
        assert body.calls[0].state == "done"
        (took_ns[speculate],) = finished_ns
    assert took_ns[False] > 400 * MS
    assert took_ns[True] < 200 * MS


def test_jobs_outlive_the_server() -> None:
    """Three controllers' jobs, and a server that is killed twice in the middle."""
    jobs = [JobPlan(number, number, 300, ordered=number > 0, reduces=number > 1) for number in range(3)]
    controllers = [ControllerPlan(number) for number in range(3)]
    restarts = [Restart(20 * MS, 5 * MS), Restart(150 * MS, 50 * MS)]
    world = World(Scenario(9, [NodePlan(0, 2), NodePlan(1, 3)], controllers, jobs, restarts=restarts)).run()
    for body in world.controllers.values():
        (call,) = body.calls.values()
        assert (call.state, call.failed) == ("done", set())


def test_throughput_grows_with_the_machines() -> None:
    """Two thousand tasks of 10 ms: with 16 slots in about an eighth of the time of 2."""
    took = {}
    for nodes in (1, 8):
        scenario = Scenario(
            5,
            [NodePlan(number, 2) for number in range(nodes)],
            [ControllerPlan(0)],
            [JobPlan(0, 0, 2_000, task_ns=10.0 * MS, spread=0.0, ordered=False)],
        )
        took[nodes] = World(scenario).run().now_ns
    assert took[1] <= 1.05 * 2_000 * 10 * MS / 2
    assert took[8] <= 1.2 * took[1] / 8
