"""One user call at its controller, and the drawing from its iterable.

Arguments are index ranges, so that what the user would see can be checked exactly.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from achilles.core.packets import MAX_UNITS_PER_PARCEL, cut_list, cut_units
from achilles.core.submission import DrawPlan, Submission
from achilles.engines.cancelled_items import CancelledItems
from tests.simulation.reading import Results
from tests.simulation.scenario import JobPlan

PARCEL_BYTES = 4 * 1024 * 1024
DRAW_NS = 5_000_000


@dataclass
class Parcel:
    """What travels from a controller to a node."""

    plan: JobPlan
    parcel: int
    attempt: int
    node: int
    first: int
    tasks: int
    packet_tasks: int
    units: list[int]
    size_bytes: int

    def as_attempt(self, attempt: int) -> Parcel:
        """The same, as the server hands it on."""
        return replace(self, attempt=attempt)


class Call:
    """One job at its controller."""

    def __init__(self, plan: JobPlan) -> None:
        self.plan = plan
        self.brain = Submission(
            plan.chunksize,
            ordered=plan.ordered,
            budget_bytes=plan.budget_bytes,
            patient=plan.patient,
            expected_ns=plan.expected_ns,
        )
        self.cancelled = CancelledItems(self.brain)
        self.never: set[int] = set()  # items that were cancelled before they were drawn
        self.parcels: dict[int, Parcel] = {}
        self.results: dict[tuple[int, int], list[Results]] = {}  # by parcel and attempt
        self.failed: set[int] = set()
        self.unread: deque[tuple[int, int]] = deque()  # parcel, tasks
        self.grants: dict[int, int] = {}  # slots of the nodes that this life of the server named
        self.shapes: dict[int, tuple[int, int, int]] = {}
        self.drawing = self.reading = False
        self.state = "runs"  # or: done, failed, left
        self.lists_drawn = 0
        self.next_index = 0
        self.delivered = 0
        self.delivered_to: dict[int, int] = {}  # parcel -> index after what was delivered of it
        self.seen: set[int] = set()  # parcels that were delivered to the end
        self.read = 0
        self.blind_tasks = 0  # drawn before the size of a result was known


def take(call: Call, plan: DrawPlan) -> tuple[list[int], int, int, bool, int]:
    job = call.plan
    if job.lists is not None:
        if call.lists_drawn == len(job.lists):
            return [], 0, 0, True, 0
        length = job.lists[call.lists_drawn]
        call.lists_drawn += 1
        return cut_list(length, plan.cpu_count, plan.task_ns), 1, length, False, int(job.draw_ns)
    units: list[int] = []
    tasks = 0
    ended = False
    for wanted in cut_units(plan.packets, plan.packet_tasks, plan.unit_tasks):
        left = wanted if job.tasks is None else min(wanted, job.tasks - call.next_index - tasks)
        if left:
            units.append(left)
            tasks += left
        if left < wanted:
            ended = True
            break
        if tasks % plan.packet_tasks == 0 and (
            tasks * job.task_bytes >= PARCEL_BYTES
            or len(units) >= MAX_UNITS_PER_PARCEL - plan.cpu_count
            or tasks * job.draw_ns > DRAW_NS
        ):
            break
    assert len(units) <= MAX_UNITS_PER_PARCEL
    return units, -(-tasks // plan.packet_tasks), plan.packet_tasks, ended, int(tasks * job.draw_ns)
