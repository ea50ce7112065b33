"""What a submission remembers of its parcels."""

from __future__ import annotations

from .ranges import Ranges
from .record import Record, made_by

__all__ = ["Attempt", "DrawPlan", "ParcelState"]


class DrawPlan(Record):
    """What to draw next: up to ``packets`` packets for the node, serialized by ``unit_tasks``.

    ``slice_tasks``: the length of a slice, where the caller has said it; 0 where slices are as it comes.
    """

    node: int
    cpu_count: int
    packets: int
    packet_tasks: int
    unit_tasks: int
    task_ns: float | None
    slice_tasks: int = 0


class Attempt(Record):
    """One running of a parcel, and what came in of it."""

    ranges: Ranges
    missing_tasks: int
    result_bytes: int = 0


class ParcelState(Record):
    """A parcel from its drawing until it was read.

    ``attempts`` are those whose results count: one, or two while a copy runs beside it. Once it is
    complete, only the one that won is left, or none when the parcel was given up.
    """

    parcel: int
    first: int
    tasks: int
    packet_tasks: int
    packet_number: int
    size_bytes: int
    whole: bool = False  # one packet, whatever its length
    attempt: int = 1  # the newest
    complete: bool = False
    delivered: int = 0  # tasks, from the first
    read: int = 0
    unread: int = 0  # done or delivered, and not read
    attempts: dict[int, Attempt] = made_by(default_factory=dict)

    def __post_init__(self) -> None:
        self.begin(1)

    def begin(self, attempt: int) -> None:
        """Expect results of this attempt as well."""
        self.attempt = attempt
        self.attempts[attempt] = Attempt(Ranges(self.first, self.tasks), self.tasks)

    @property
    def done_tasks(self) -> int:
        """Tasks whose results are held, twice where two attempts have them."""
        if self.complete:
            return self.tasks
        return sum(self.tasks - attempt.missing_tasks for attempt in self.attempts.values())

    @property
    def leader(self) -> int:
        """The attempt that has done most without a gap from the first task on; 0 when there is none."""
        if len(self.attempts) < 2:
            return next(iter(self.attempts), 0)
        return max(self.attempts, key=lambda number: self.attempts[number].ranges.begun)
