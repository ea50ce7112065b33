"""The books of each brain, recomputed from what it holds.

The checks are allowed to look inside: watched from outside, a wrong sum shows hours later, as a hang.
"""

from __future__ import annotations

from typing import Any

from achilles.core.scheduler import Scheduler
from achilles.core.scheduler_state import JobState, NodeState
from achilles.core.slots import FLUSH_BYTES, Slots
from achilles.core.submission import Submission


class Violation(AssertionError):
    """A promise that was broken."""


def require(holds: bool, what: str) -> None:
    """Raise `Violation` unless it holds."""
    if not holds:
        raise Violation(what)


def near(left: float, right: float) -> bool:
    """Whether two sums of floats are the same."""
    return abs(left - right) <= 1.0 + 1e-6 * max(abs(left), abs(right))


def check_scheduler(scheduler: Scheduler) -> None:
    """All books of a scheduler."""
    for node in scheduler.nodes.values():
        check_server_node(scheduler, node)
    for job in scheduler.jobs.values():
        check_server_job(scheduler, job)
    check_served(scheduler)


def check_server_node(scheduler: Scheduler, node: NodeState) -> None:
    """What lies at a node, what is reserved there, and whether it has room."""
    counts: dict[int, int] = {}
    work_ns = 0.0
    for (job, number), parcel in node.parcels.items():
        known = scheduler.jobs.get(job)
        known_here = known is not None and known.find(number, parcel.attempt) is parcel
        require(known_here, "a node holds an unknown parcel")
        require(parcel.node == node.node, "a parcel thinks it is elsewhere")
        require(parcel.work_ns >= -1e-3, "negative work")
        counts[job] = counts.get(job, 0) + 1
        work_ns += parcel.work_ns
    require(counts == node.parcels_of, "parcels per job are miscounted")
    require(near(work_ns, node.work_ns), f"work on a node: {node.work_ns} booked, {work_ns} there")
    require(near(sum(node.reserved.values()), node.reserved_ns), "reserved work is misbooked")
    for job in node.reserved:
        require(node.node in scheduler.jobs[job].open_demands, "room is reserved for no demand")
    for job in node.jobs:
        require(node.node in scheduler.jobs[job].nodes, "a job forgot a node it was introduced to")
    roomy = node.node in scheduler._roomy._by_python.get(node.python, ())
    require(roomy == (not node.takes_nothing and node.has_room()), f"room of a node is misnoted: {roomy}")
    for group in scheduler._groups:
        require((group in node.groups) == group.may_run_on(node), "a node is in the wrong groups")
        require((node.node in group.nodes) == (group in node.groups), "a group misses a node")
        if not group.jobs:
            continue  # it is looked at again when one comes
        roomy = node.node in group.roomy
        above = _has_room_above(scheduler, node, group.priority)
        expected = group in node.groups and not node.takes_nothing and above
        require(roomy == expected, f"room of a node for priority {group.priority} is misnoted: {roomy}")


def _has_room_above(scheduler: Scheduler, node: NodeState, priority: int) -> bool:
    """Whether there is room when what has a lower priority counts for nothing."""
    counting = {number for number, job in scheduler.jobs.items() if job.priority >= priority}
    work_ns = [parcel.work_ns for (job, _), parcel in node.parcels.items() if job in counting]
    work_ns += [asked_ns for job, asked_ns in node.reserved.items() if job in counting]
    return node.has_room() or len(work_ns) < 2 or sum(work_ns) < node.full_ns


def check_server_job(scheduler: Scheduler, job: JobState) -> None:
    """Where a job's parcels are, and what they weigh."""
    lost = set(job.lost)
    require(len(lost) == len(job.lost), "a parcel is lost twice")
    bytes_out = 0
    for number, parcel in job.parcels.items():
        node = scheduler.nodes.get(parcel.node)
        there = node is not None and (job.job, number) in node.parcels
        require(there != (number in lost), "a parcel must be at one node, or wait for one")
        bytes_out += parcel.size_bytes if there else 0
        twin = parcel.twin
        if twin is not None:
            require(job.speculate and there, "a copy that is not allowed, or of nothing that runs")
            require(twin.twin is parcel and twin.node != parcel.node, "two attempts at one node")
            require((job.job, number) in scheduler.nodes[twin.node].parcels, "a copy is nowhere")
            bytes_out += twin.size_bytes
    require(lost <= job.parcels.keys(), "an unknown parcel is lost")
    require(bytes_out == job.bytes_out, "bytes at nodes are misbooked")
    for number in job.open_demands:
        require(number in scheduler.nodes, "a demand waits for a node that is gone")
    for number in job.nodes:
        require(job.job in scheduler.nodes[number].jobs, "a node forgot a job")
    require((job.job in scheduler._due) == job.wants_node(), "a job is due without wanting, or the reverse")
    lowest = min(other.priority for other in scheduler.jobs.values())
    special = job.patterns or job.slots > 1
    require(not special or job.group is not None, "a job has no group")
    require(job.group is not None or job.priority == lowest, "a job that comes before others has no group")


def check_served(scheduler: Scheduler) -> None:
    """No job wants room while a node has some that the job may have."""
    for number in scheduler._due:
        job = scheduler.jobs[number]
        node = scheduler._roomy.first_for(job)
        require(node is None, f"job {number} wants room, node {node and node.node} has it")


def check_submission(brain: Submission) -> None:
    """A submission's sums."""
    size = unread = waiting = 0
    for parcel in brain.parcels.values():
        size += 0 if parcel.complete else parcel.size_bytes
        require(len(parcel.attempts) <= 2, "more than two attempts count")
        require(not parcel.complete or len(parcel.attempts) < 2, "a complete parcel has two winners")
        done = parcel.tasks if parcel.complete else 0
        for attempt in parcel.attempts.values():
            size += attempt.result_bytes
            done += 0 if parcel.complete else parcel.tasks - attempt.missing_tasks
            waiting += attempt.missing_tasks
        unread += max(done, parcel.delivered) - parcel.read
    require(size == brain._bytes, f"bytes are misbooked: {brain._bytes}, there are {size}")
    require(unread == brain._unread_tasks, "unread tasks are misbooked")
    require(waiting == brain._waiting_tasks, "tasks that are out are misbooked")
    # Two attempts may hold the same results; and what was delivered of a parcel that is run again
    # counts as unread and as waiting.
    require(max(unread, waiting) <= 2 * brain.tasks_drawn, "more is out than was drawn")
    require(brain._undelivered >= 0, "more was delivered than was drawn")


def check_turn(slots: Slots, priority: int) -> None:
    """Something of this priority was just begun: nobody who waits should have come before it."""
    workers = len(slots.workers)
    for job in slots.jobs.values():
        if not job.waiting or job.priority <= priority or job.slots > workers:
            continue
        # Who needs several workers at once leaves to others what is over.
        taken = sum(
            worker.slots
            for worker in slots.workers.values()
            if (worker.pieces and worker.pieces[0].key[0] != job.job)
            or worker.stopping
            or worker.lent_to is not None
        )
        require(taken <= workers % job.slots, "somebody is served before his turn")


def check_slots(slots: Slots) -> None:
    """Every task of every parcel is waiting, at a worker, kept, or sent; workers are used."""
    where: dict[int, int] = {}
    missing: dict[Any, int] = {}
    for job in slots.jobs.values():
        for piece in job.waiting:
            where[piece.piece] = where.get(piece.piece, 0) + 1
            require(piece.key in slots.parcels, "a piece of no parcel waits")
            missing[piece.key] = missing.get(piece.key, 0) + (0 if piece.parts else piece.tasks)
        require((job.job in slots._turns) == bool(job.waiting), "a turn without work, or the reverse")
    for worker in slots.workers.values():
        for piece in worker.pieces:
            where[piece.piece] = where.get(piece.piece, 0) + 1
            missing[piece.key] = missing.get(piece.key, 0) + (0 if piece.parts else piece.tasks)
        idle = worker.worker in slots._roomy._idle
        free = not worker.pieces and not worker.stopping and worker.lent_to is None
        require(idle == free, "an idle worker is misnoted")
        require(worker.lent_to is None or not worker.pieces, "a worker that is lent gets work")
        require(near(worker.work_ns, sum(piece.work_ns for piece in worker.pieces)), "work is misbooked")
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
        require(
            unsent == parcel.missing_tasks + sum(p.tasks for p in parcel.done), "tasks of a parcel are lost"
        )
        require(parcel.kept_bytes < FLUSH_BYTES, "results are kept too long")
    require(where.keys() == slots.pieces.keys(), f"pieces strayed: {where.keys() ^ slots.pieces.keys()}")
    require(all(count == 1 for count in where.values()), "a piece is in two places")
    idle = sum(
        not worker.pieces and not worker.stopping and worker.lent_to is None
        for worker in slots.workers.values()
    )
    held = sum(worker.slots - 1 for worker in slots.workers.values() if worker.pieces)
    require(slots._roomy.idle == max(idle - held, 0), "workers that are held are miscounted")
    waiting = [job for job in slots.jobs.values() if job.waiting and job.slots <= len(slots.workers)]
    highest = max((job.priority for job in waiting), default=0)
    # All others may wait for somebody who needs several workers at once.
    most = max((job.slots for job in waiting if job.priority == highest), default=1)
    require(not waiting or slots._roomy.idle < most, "a worker idles beside work")
