"""What the scheduler remembers of a parcel, from its arrival until its results are complete."""

from __future__ import annotations

from ..errors import ProtocolError
from .ranges import Ranges
from .record import Record
from .scheduler_events import Segment

__all__ = ["ParcelState"]

# Until a parcel has its own.
_NOTHING = Ranges(0, 0)


class ParcelState(Record):
    """A parcel that is on a node, on its way there, or waits to be sent to another."""

    parcel: int
    node: int
    attempt: int
    missing_tasks: int
    size_bytes: int
    first: int = 0  # index of its first task
    work_ns: float = 0.0
    sent: bool = False  # whether this attempt has been sent to its node
    sent_ns: int = 0
    losses: int = 0  # nodes that were lost with it
    asked_back_for: int | None = None  # the idle node that it is to go to
    begun: bool = False  # whether its node would not give it back
    due_ns: int = 0  # since when it, rather than what lay before it, keeps its node busy
    newest: int = 0  # the highest number that an attempt had
    failed: int = 0  # failed segments among what is done
    slots_due: int = 0  # slots of its node that it is counted for
    twin: ParcelState | None = None  # the other of two attempts that run at once
    ranges: Ranges = _NOTHING  # what this attempt has done

    def __post_init__(self) -> None:
        self.ranges = Ranges(self.first, self.missing_tasks)

    @property
    def tasks(self) -> int:
        """How many tasks it holds."""
        return self.ranges.end - self.ranges.first

    @property
    def may_move(self) -> bool:
        """Whether its node may be asked to give it back."""
        return self.sent and self.asked_back_for is None and self.twin is None

    def next_attempt(self) -> int:
        """A number that no attempt had."""
        self.newest = max(self.newest, self.attempt) + 1
        return self.newest

    def copy_for(self, node: int) -> ParcelState:
        """A second attempt of this one, which goes on."""
        copy = ParcelState(self.parcel, node, self.next_attempt(), self.tasks, self.size_bytes, self.first)
        copy.losses, copy.newest = self.losses, self.newest
        copy.twin, self.twin = self, copy
        return copy

    def part(self) -> ParcelState | None:
        """Go on alone; returns the twin there was."""
        twin, self.twin = self.twin, None
        if twin is not None:
            twin.twin = None
        return twin

    def send(self, first: int, tasks: int, now_ns: int) -> None:
        """Begin this attempt; the parcel must be what it was."""
        if (first, first + tasks) != (self.ranges.first, self.ranges.end):
            raise ProtocolError(f"parcel {self.parcel} came again and holds other items than before")
        self.ranges.clear()
        self.missing_tasks = tasks
        self.sent = True
        self.sent_ns = self.due_ns = now_ns
        self.begun = False

    def done(self, segments: list[Segment]) -> tuple[int, int, int]:
        """Note what a node says it has done: its tasks, busy µs, and how many segments failed."""
        if not self.sent:
            raise ProtocolError(f"results of parcel {self.parcel} came before the parcel was sent")
        wrong = self.ranges.add([segment[:2] for segment in segments])
        if wrong is not None:
            raise ProtocolError(f"the results of parcel {self.parcel} hold {wrong}")
        tasks = busy_us = failed = 0
        for _, length, status, segment_busy_us in segments:
            tasks += length
            busy_us += segment_busy_us
            failed += status > 0
        self.failed += failed
        return tasks, busy_us, failed
