"""The facts a submission hears and the commands it gives."""

from __future__ import annotations

from dataclasses import dataclass

# (first index, tasks, status, busy_us)
Segment = tuple[int, int, int, int]


@dataclass(slots=True)
class Granted:
    """The scheduler asks for one parcel of up to so many packets, cut for the node."""

    node: int
    cpu_count: int
    packets: int


@dataclass(slots=True)
class InputStarted:
    """The first argument was seen.

    ``lists``: it is a list, so each argument is one packet. ``tasks``: how many arguments there are,
    where drawing them at once has no effect that anybody could see. ``task_bytes``: size of the first.
    """

    lists: bool
    tasks: int | None = None
    task_bytes: float | None = None


@dataclass(slots=True)
class ParcelDrawn:
    """Arguments were drawn as planned, and serialized.

    ``draw_ns`` is the time that the caller's iterable took.
    """

    node: int
    tasks: int
    packets: int
    packet_tasks: int
    size_bytes: int
    draw_ns: int


@dataclass(slots=True)
class InputEnded:
    """The caller's iterable has no more arguments, or raised."""


@dataclass(slots=True)
class ResendAsked:
    """The parcel is wanted again.

    The node that had it is lost; or a copy is to run ``beside`` that attempt, which goes on.
    """

    parcel: int
    attempt: int
    node: int
    beside: int = 0


@dataclass(slots=True)
class ResultsArrived:
    """Some ranges of a parcel are done."""

    parcel: int
    attempt: int
    segments: list[Segment]
    size_bytes: int


@dataclass(slots=True)
class ParcelFailed:
    """The scheduler has given the parcel up."""

    parcel: int


@dataclass(slots=True)
class SchedulerLost:
    """The connection to the scheduler is gone, and all that it knew of the job."""


@dataclass(slots=True)
class SchedulerFound:
    """The job has been submitted again, to a scheduler that knows nothing of its parcels."""


@dataclass(slots=True)
class ParcelRead:
    """The caller has taken so many delivered tasks of a parcel, or all that were delivered (None)."""

    parcel: int
    tasks: int | None = None


@dataclass(slots=True)
class SendParcel:
    """Send a parcel's units to the scheduler."""

    parcel: int
    node: int
    attempt: int


@dataclass(slots=True)
class DropResults:
    """Drop what came in of an attempt: the parcel is run again, or another attempt was first."""

    parcel: int
    attempt: int


@dataclass(slots=True)
class DropUnits:
    """The parcel's arguments are not needed any more."""

    parcel: int


@dataclass(slots=True)
class Deliver:
    """The caller may read these results of a parcel: whole packets, or all that is left of it.

    ``attempt`` tells whose they are; 0 when the parcel was given up.
    """

    parcel: int
    first: int
    tasks: int
    attempt: int


@dataclass(slots=True)
class EndInput:
    """Tell the scheduler that no more parcels will come."""


@dataclass(slots=True)
class Complete:
    """Everything has been delivered."""


Event = (
    Granted
    | InputStarted
    | ParcelDrawn
    | InputEnded
    | ResendAsked
    | ResultsArrived
    | ParcelFailed
    | ParcelRead
    | SchedulerLost
    | SchedulerFound
)
Command = SendParcel | DropResults | DropUnits | Deliver | EndInput | Complete
