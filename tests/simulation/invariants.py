"""What must hold of a whole world after every event, and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from achilles.core import scheduler_events
from achilles.core.scheduler_events import MAX_JOB_BYTES
from achilles.core.scheduler_state import MAX_OPEN_DEMANDS
from achilles.core.scheduler_state import JobState as ServerJob
from tests.simulation.books import (
    Violation,
    check_scheduler,
    check_served,
    check_server_node,
    check_slots,
    check_submission,
    require,
)
from tests.simulation.calls import PARCEL_BYTES, Call
from tests.simulation.node_body import NodeBody

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Violation", "check_end", "check_full", "check_touched"]

CALL_CHECKED_EVERY = 8


def check_full(world: World) -> None:
    """All books of all brains."""
    _check_server(world)
    for controller in world.controllers.values():
        for call in controller.calls.values():
            check_call(call)
    for body in world.nodes.values():
        if body.state == "runs":
            check_slots(body.brain)


def check_touched(world: World, small: bool) -> None:
    """The books that the last event can have changed; in a world that is not small, most of them.

    Those of a call grow with its length, so there they are gone through at one event in so many.
    """
    scheduler = world.server.brain
    for brain in world.touched:
        if isinstance(brain, Call):
            if small or world.events % CALL_CHECKED_EVERY == 0:
                check_call(brain)
        elif isinstance(brain, NodeBody):
            if brain.state == "runs":
                check_slots(brain.brain)
        elif small:
            _check_server(world)
        else:
            node = scheduler.nodes.get(getattr(brain, "node", -1))
            if node is not None:
                check_server_node(scheduler, node)
            if not isinstance(brain, scheduler_events.ResultsArrived):
                check_served(scheduler)


def _check_server(world: World) -> None:
    check_scheduler(world.server.brain)
    for job in world.server.brain.jobs.values():
        _check_bytes_out(world, job)
    _check_starved(world)


def _check_bytes_out(world: World, job: ServerJob) -> None:
    plan = world.server.calls[job.job][0].plan
    largest = PARCEL_BYTES + plan.task_bytes * max(max(plan.lists or [0]), 8 * plan.chunksize)
    limit = MAX_JOB_BYTES + (MAX_OPEN_DEMANDS + 2 * len(job.lost) + 8) * largest
    require(job.bytes_out <= limit, f"too many bytes at nodes: {job.bytes_out}")


def _check_starved(world: World) -> None:
    """Nobody is served again and again while another, who could be, waits."""
    server = world.server
    turns = len(server.brain.jobs) + 1
    patience_ns = 1_000_000_000 + 2 * turns * server.longest_stay_ns
    for job, wanting in server.wanting.items():
        if wanting.passed > 4 * turns and world.now_ns - wanting.since_ns > patience_ns:
            waited_s = (world.now_ns - wanting.since_ns) / 1e9
            raise Violation(f"job {job} waited {waited_s:.1f} s, others got {wanting.passed} turns")


def check_call(call: Call) -> None:
    """A submission's sums, and its bounds."""
    brain, plan = call.brain, call.plan
    check_submission(brain)
    require(brain.tasks_drawn == call.next_index, "tasks are miscounted")
    largest = plan.largest_packet
    # Results may be larger than arguments; what that can add is known after the first of them. Where
    # some are smaller, the forecast is too low for a while.
    bound = (
        2 * plan.budget_bytes
        + PARCEL_BYTES
        + (largest + call.blind_tasks) * (plan.task_bytes + plan.result_bytes)
    )
    # Of two attempts that run at once both have results, and nobody could know that there would be two.
    for parcel in brain.parcels.values():
        held = sorted(attempt.result_bytes for attempt in parcel.attempts.values())
        bound += sum(held[:-1])
    require(brain._bytes <= bound, f"{brain._bytes} bytes are held, {bound} allowed")


def check_end(world: World) -> None:
    """Nothing is left to happen: so everything is done, or waits for a stated reason."""
    scheduler = world.server.brain
    waiting = False
    for controller in world.controllers.values():
        for call in controller.calls.values():
            if call.state == "runs":
                waiting = True
                _check_waits(world, call)
            elif call.state == "done":
                require(call.plan.tasks is None or call.next_index == call.plan.tasks, "not all was drawn")
                require(len(call.seen) == call.brain._next_parcel, "a parcel was not delivered")
                if call.plan.stop_reading_after is None:
                    books = (call.brain._bytes, call.brain._unread_tasks, call.brain._waiting_tasks)
                    require(not call.brain.parcels and not any(books), "the books are not empty")
                    require(not call.parcels and not call.results, "payload is left over")
    runs = {
        (body.connection.number, call.plan.job)
        for body in world.controllers.values()
        for call in body.calls.values()
        if call.state == "runs" and body.connection is not None
    }
    served = world.server.numbers
    require(served.keys() == runs, f"the server keeps {served.keys()}, {runs} run")
    require(set(served.values()) == scheduler.jobs.keys(), "the server keeps a job that nobody knows")
    check_full(world)
    for body in world.nodes.values():
        if body.state == "runs" and body.connection is not None:
            require(body.brain.jobs.keys() <= scheduler.jobs.keys(), "a node keeps a job that is over")
    if waiting:
        return
    for node in scheduler.nodes.values():
        require(not (node.parcels or node.reserved or node.jobs or node.parcels_of), "a node keeps something")
        require(node.work_ns == 0.0 and node.reserved_ns == 0.0, "a node keeps work")
    require(not len(scheduler._due), "somebody is due")
    require(not scheduler._demands, "a demand is left over")
    for body in world.nodes.values():
        if body.state == "runs":
            brain = body.brain
            require(not (brain.jobs or brain.parcels or brain.pieces), "the slots keep something")
            require(not (body.parcels or body.kept), "payload is left over at a node")
            require(len(brain.workers) == body.plan.cpu_count, "workers are missing")
            require(not any(worker.pieces for worker in brain.workers.values()), "a worker is busy for ever")


def _check_waits(world: World, call: Call) -> None:
    plan = call.plan
    server = world.server
    nodes = [node for node in server.brain.nodes.values() if not node.takes_nothing]
    if plan.stop_reading_after is not None and call.read >= plan.stop_reading_after:
        return
    if nodes:
        able = any(plan.may_run_on(server.plan_of(number)) for number in server.brain.nodes)
        require(able, f"job {plan.job} waits for a node that can run it, and is not told")
    eligible = [node for node in nodes if plan.may_run_on(server.plan_of(node.node))]
    require(
        not eligible, f"job {plan.job} hangs: {len(call.seen)} parcels of {call.brain._next_parcel} delivered"
    )
