"""What must hold after every event, and at the end.

Each check looks at a brain's own books and recomputes them from the parcels themselves. They are
allowed to look inside: watched from outside, a wrong sum shows hours later, as a hang.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from achilles.core import scheduler_events
from achilles.core.scheduler import Scheduler
from achilles.core.scheduler_events import MAX_JOB_BYTES
from achilles.core.scheduler_state import MAX_OPEN_DEMANDS, NodeState
from achilles.core.scheduler_state import JobState as ServerJob
from achilles.core.slots import FLUSH_BYTES, Slots
from tests.simulation.calls import PARCEL_BYTES, Call
from tests.simulation.node_body import NodeBody

if TYPE_CHECKING:
    from tests.simulation.world import World


class Violation(AssertionError):
    """A promise that was broken."""


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


def _near(left: float, right: float) -> bool:
    return abs(left - right) <= 1.0 + 1e-6 * max(abs(left), abs(right))


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
    """The books that the last event can have changed; in a world that is not small, most of them."""
    scheduler = world.server.brain
    for brain in world.touched:
        if isinstance(brain, Call):
            check_call(brain)
        elif isinstance(brain, NodeBody):
            if brain.state == "runs":
                check_slots(brain.brain)
        elif small:
            _check_server(world)
        else:
            node = scheduler.nodes.get(getattr(brain, "node", -1))
            if node is not None:
                _check_server_node(scheduler, node)
            if not isinstance(brain, scheduler_events.ResultsArrived):
                _check_served(scheduler)


def _check_server(world: World) -> None:
    scheduler = world.server.brain
    for node in scheduler.nodes.values():
        _check_server_node(scheduler, node)
    for job in scheduler.jobs.values():
        _check_server_job(world, job)
    _check_served(scheduler)
    _check_starved(world)


def _check_server_node(scheduler: Scheduler, node: NodeState) -> None:
    counts: dict[int, int] = {}
    work_ns = 0.0
    for (job, number), parcel in node.parcels.items():
        known = scheduler.jobs.get(job)
        _require(known is not None and known.parcels.get(number) is parcel, "a node holds an unknown parcel")
        _require(parcel.node == node.node, "a parcel thinks it is elsewhere")
        _require(parcel.work_ns >= -1e-3, "negative work")
        counts[job] = counts.get(job, 0) + 1
        work_ns += parcel.work_ns
    _require(counts == node.parcels_of, "parcels per job are miscounted")
    _require(_near(work_ns, node.work_ns), f"work on a node: {node.work_ns} booked, {work_ns} there")
    _require(_near(sum(node.reserved.values()), node.reserved_ns), "reserved work is misbooked")
    for job in node.reserved:
        _require(node.node in scheduler.jobs[job].open_demands, "room is reserved for no demand")
    for job in node.jobs:
        _require(node.node in scheduler.jobs[job].nodes, "a job forgot a node it was introduced to")
    roomy = node.node in scheduler._roomy[node.python]
    _require(roomy == (not node.draining and node.has_room()), f"room of a node is misnoted: {roomy}")


def _check_server_job(world: World, job: ServerJob) -> None:
    scheduler = world.server.brain
    plan = world.server.calls[job.job][0].plan
    lost = set(job.lost)
    _require(len(lost) == len(job.lost), "a parcel is lost twice")
    bytes_out = 0
    for number, parcel in job.parcels.items():
        node = scheduler.nodes.get(parcel.node)
        there = node is not None and (job.job, number) in node.parcels
        _require(there != (number in lost), "a parcel must be at one node, or wait for one")
        bytes_out += parcel.size_bytes if there else 0
    _require(lost <= job.parcels.keys(), "an unknown parcel is lost")
    _require(bytes_out == job.bytes_out, "bytes at nodes are misbooked")
    largest = PARCEL_BYTES + plan.task_bytes * max(max(plan.lists or [0]), 8 * plan.chunksize)
    limit = MAX_JOB_BYTES + (MAX_OPEN_DEMANDS + 2 * len(lost) + 8) * largest
    _require(job.bytes_out <= limit, f"too many bytes at nodes: {job.bytes_out}")
    for number in job.open_demands:
        _require(number in scheduler.nodes, "a demand waits for a node that is gone")
    for number in job.nodes:
        _require(job.job in scheduler.nodes[number].jobs, "a node forgot a job")
    _require((job.job in scheduler._due) == job.wants_node(), "a job is due without wanting, or the reverse")


def _check_served(scheduler: Scheduler) -> None:
    """No job wants room while a node has some that the job may have."""
    if not any(scheduler._roomy.values()):
        return
    for number in scheduler._due:
        job = scheduler.jobs[number]
        node = scheduler._roomy_for(job)
        _require(node is None, f"job {number} wants room, node {node and node.node} has it")


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
    size = unread = waiting = 0
    for parcel in brain.parcels.values():
        size += parcel.result_bytes + (0 if parcel.complete else parcel.size_bytes)
        unread += parcel.tasks - parcel.missing_tasks
        waiting += parcel.missing_tasks
    _require(size == brain._bytes, f"bytes are misbooked: {brain._bytes}, there are {size}")
    _require(unread == brain._unread_tasks, "unread tasks are misbooked")
    _require(waiting == brain._waiting_tasks, "tasks that are out are misbooked")
    _require(unread + waiting <= brain.tasks_drawn == call.next_index, "more is out than was drawn")
    largest = max(max(plan.lists or [0]), 8 * plan.chunksize)
    # Results may be larger than arguments; what that can add is known after the first of them. Where
    # some are smaller, the forecast is too low for a while.
    bound = (
        2 * plan.budget_bytes
        + PARCEL_BYTES
        + (largest + call.blind_tasks) * (plan.task_bytes + plan.result_bytes)
    )
    _require(size <= bound, f"{size} bytes are held, {bound} allowed")


def check_slots(slots: Slots) -> None:
    """Every task of every parcel is waiting, at a worker, kept, or sent; workers are used."""
    where: dict[int, int] = {}
    missing: dict[Any, int] = {}
    for job in slots.jobs.values():
        for piece in job.waiting:
            where[piece.piece] = where.get(piece.piece, 0) + 1
            _require(piece.key in slots.parcels, "a piece of no parcel waits")
            missing[piece.key] = missing.get(piece.key, 0) + (0 if piece.parts else piece.tasks)
        _require((job.job in slots._turns) == bool(job.waiting), "a turn without work, or the reverse")
    for worker in slots.workers.values():
        for piece in worker.pieces:
            where[piece.piece] = where.get(piece.piece, 0) + 1
            missing[piece.key] = missing.get(piece.key, 0) + (0 if piece.parts else piece.tasks)
        idle = worker.worker in slots._idle
        _require(idle == (not worker.pieces and not worker.stopping), "an idle worker is misnoted")
        _require(_near(worker.work_ns, sum(piece.work_ns for piece in worker.pieces)), "work is misbooked")
    for key, parcel in slots.parcels.items():
        unsent = missing.get(key, 0)
        for piece in parcel.done:
            where[piece.piece] = where.get(piece.piece, 0) + 1
            unsent += piece.tasks
        for packet in parcel.spread.values():
            for piece in packet.pieces:
                if piece.piece in slots.pieces and piece not in parcel.done:
                    where[piece.piece] = where.get(piece.piece, 0) + 1
                    unsent += piece.tasks
        for piece in parcel.done:
            unsent -= sum(slots.pieces[part].tasks for part in piece.parts or () if part in slots.pieces)
        _require(
            unsent == parcel.missing_tasks + sum(p.tasks for p in parcel.done), "tasks of a parcel are lost"
        )
        _require(parcel.kept_bytes < FLUSH_BYTES, "results are kept too long")
    _require(where.keys() == slots.pieces.keys(), f"pieces strayed: {where.keys() ^ slots.pieces.keys()}")
    _require(all(count == 1 for count in where.values()), "a piece is in two places")
    _require(
        not (slots._idle and any(job.waiting for job in slots.jobs.values())), "a worker idles beside work"
    )


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
                _require(call.plan.tasks is None or call.next_index == call.plan.tasks, "not all was drawn")
                _require(len(call.seen) == call.brain._next_parcel, "a parcel was not delivered")
                if call.plan.stop_reading_after is None:
                    books = (call.brain._bytes, call.brain._unread_tasks, call.brain._waiting_tasks)
                    _require(not call.brain.parcels and not any(books), "the books are not empty")
                    _require(not call.parcels and not call.results, "payload is left over")
                    _require(
                        call.brain.tasks_done + call.lost_tasks == call.next_index, "tasks are miscounted"
                    )
    runs = {
        (body.connection.number, call.plan.job)
        for body in world.controllers.values()
        for call in body.calls.values()
        if call.state == "runs" and body.connection is not None
    }
    served = world.server.numbers
    _require(served.keys() == runs, f"the server keeps {served.keys()}, {runs} run")
    _require(set(served.values()) == scheduler.jobs.keys(), "the server keeps a job that nobody knows")
    check_full(world)
    for body in world.nodes.values():
        if body.state == "runs" and body.connection is not None:
            _require(body.brain.jobs.keys() <= scheduler.jobs.keys(), "a node keeps a job that is over")
    if waiting:
        return
    for node in scheduler.nodes.values():
        _require(
            not (node.parcels or node.reserved or node.jobs or node.parcels_of), "a node keeps something"
        )
        _require(node.work_ns == 0.0 and node.reserved_ns == 0.0, "a node keeps work")
    _require(not len(scheduler._due), "somebody is due")
    _require(not scheduler._demands, "a demand is left over")
    for body in world.nodes.values():
        if body.state == "runs":
            brain = body.brain
            _require(not (brain.jobs or brain.parcels or brain.pieces), "the slots keep something")
            _require(not (body.parcels or body.kept), "payload is left over at a node")
            _require(len(brain.workers) == body.plan.cpu_count, "workers are missing")
            _require(not any(worker.pieces for worker in brain.workers.values()), "a worker is busy for ever")


def _check_waits(world: World, call: Call) -> None:
    plan = call.plan
    nodes = [node for node in world.server.brain.nodes.values() if not node.draining]
    if plan.stop_reading_after is not None and call.read >= plan.stop_reading_after:
        return
    if plan.python is not None and nodes:
        _require(
            any(node.python == plan.python for node in world.server.brain.nodes.values()),
            f"job {plan.job} waits for a Python that no node has, and is not told",
        )
    eligible = [node for node in nodes if plan.python in (None, node.python)]
    _require(
        not eligible, f"job {plan.job} hangs: {len(call.seen)} parcels of {call.brain._next_parcel} delivered"
    )
