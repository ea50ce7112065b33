"""The facts a submission hears and the commands it gives."""

from __future__ import annotations

from .record import Record

# (first index, tasks, status, busy_us)
Segment = tuple[int, int, int, int]


class Granted(Record):
    """The scheduler asks for one parcel of up to so many packets, cut for the node."""

    node: int
    cpu_count: int
    packets: int


class InputStarted(Record):
    """The first argument was seen.

    ``lists``: it is a list, so each argument is one packet. ``tasks``: how many arguments there are,
    where drawing them at once has no effect that anybody could see. ``task_bytes``: size of the first.
    """

    lists: bool
    tasks: int | None = None
    task_bytes: float | None = None


class ParcelDrawn(Record):
    """Arguments were drawn as planned, and serialized.

    ``draw_ns`` is the time that the caller's iterable took.
    """

    node: int
    tasks: int
    packets: int
    packet_tasks: int
    size_bytes: int
    draw_ns: int


class InputEnded(Record):
    """The caller's iterable has no more arguments, or raised."""


class ResendAsked(Record):
    """The parcel is wanted again.

    The node that had it is lost; or a copy is to run ``beside`` that attempt, which goes on. Or nobody
    has begun it, and its tasks are to be in other parcels (``redraw``); it is the last then.
    """

    parcel: int
    attempt: int
    node: int
    beside: int = 0
    redraw: bool = False


class ResultsArrived(Record):
    """Some ranges of a parcel are done."""

    parcel: int
    attempt: int
    segments: list[Segment]
    size_bytes: int


class ParcelFailed(Record):
    """The scheduler has given the parcel up."""

    parcel: int


class SchedulerLost(Record):
    """The connection to the scheduler is gone, and all that it knew of the job."""


class SchedulerFound(Record):
    """The job has been submitted again, to a scheduler that knows nothing of its parcels."""


class ParcelRead(Record):
    """The caller has taken so many delivered tasks of a parcel, or all that were delivered (None)."""

    parcel: int
    tasks: int | None = None


class SendParcel(Record):
    """Send a parcel's units to the scheduler."""

    parcel: int
    node: int
    attempt: int


class DropResults(Record):
    """Drop what came in of an attempt: the parcel is run again, or another attempt was first."""

    parcel: int
    attempt: int


class DropUnits(Record):
    """The parcel's arguments are not needed any more."""

    parcel: int


class Redraw(Record):
    """Forget a parcel, and have the input begin again at its first task."""

    parcel: int
    first: int


class Deliver(Record):
    """The caller may read these results of a parcel: whole packets, or all that is left of it.

    ``attempt`` tells whose they are; 0 when the parcel was given up.
    """

    parcel: int
    first: int
    tasks: int
    attempt: int


class EndInput(Record):
    """Tell the scheduler that no more parcels will come."""


class Complete(Record):
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
Command = SendParcel | DropResults | DropUnits | Redraw | Deliver | EndInput | Complete
