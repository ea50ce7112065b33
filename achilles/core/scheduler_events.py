"""The facts the scheduler hears and the commands it gives.

Events are in the past tense and carry the time at which they happened (``now_ns``, any monotonic
clock). Commands are imperatives for the body around the scheduler. Nodes, controllers and jobs
are named by numbers that the body chooses; a parcel is named by its job and a number that the
controller chooses.
"""

from __future__ import annotations

from .record import Record

MAX_JOB_BYTES = 256 * 1024 * 1024
# Items of a parcel that may be cancelled before it is sent to a node.
MAX_EARLY_CANCELS = 65_536
PythonVersion = tuple[int, int]
# (first index, tasks, status, busy_us); the payload stays with the body.
Segment = tuple[int, int, int, int]


class NodeJoined(Record):
    """A node is connected and proved its right.

    ``alone``: there will never be another. ``names``: what jobs may ask for it by, addresses among them.
    ``shares_slots``: it can keep several slots for one task. ``takes_calls``: it knows single calls.
    """

    now_ns: int
    node: int
    cpu_count: int
    python: PythonVersion
    alone: bool = False
    names: tuple[str, ...] = ()
    shares_slots: bool = True
    takes_calls: bool = True


class NodeDraining(Record):
    """A node finishes what it has and wants nothing more."""

    now_ns: int
    node: int


class SlotsLent(Record):
    """So many of a node's slots have had single calls for a while, and these may go on for ever."""

    now_ns: int
    node: int
    slots: int


class NodeLost(Record):
    """A node's connection is gone."""

    now_ns: int
    node: int


class JobSubmitted(Record):
    """A controller announced a job. ``python`` is set when its function travels as bytecode.

    Once ``most_bytes`` of its payload lie at nodes, nothing more is asked for.
    ``speculate``: a parcel that runs unusually long may run a second time on an idle node.
    ``tasks``: how many there are in all, where that is known and they can be drawn at once; else 0.
    ``priority``: jobs of a higher one get room first. ``nodes``: patterns of the names of those that may run
    it (`NamePatterns`); none: all. ``slots``: how many a task takes of its node. ``promised``: the nodes
    for which a parcel comes unasked, each as often as there are such parcels (`first_parcels`).
    ``expected_ns``: how long a task takes, as far as that is known before one was run; the controller can
    then draw its last parcel again.
    """

    now_ns: int
    job: int
    controller: int
    chunksize: int
    python: PythonVersion | None = None
    weight: float = 1.0
    most_bytes: int = MAX_JOB_BYTES
    speculate: bool = False
    tasks: int = 0
    priority: int = 0
    nodes: tuple[str, ...] = ()
    slots: int = 1
    promised: tuple[int, ...] = ()
    expected_ns: float | None = None


class ParcelArrived(Record):
    """A controller's parcel came in, cut for ``node``, or sent again to it as a later attempt.

    ``first``: index of its first task. ``last``: no new parcel will come, as `InputEnded` says.
    """

    now_ns: int
    job: int
    parcel: int
    node: int
    tasks: int
    size_bytes: int
    attempt: int = 1
    first: int = 0
    last: bool = False


class ResultsArrived(Record):
    """A node finished some ranges of a parcel."""

    now_ns: int
    node: int
    job: int
    parcel: int
    attempt: int
    segments: list[Segment]


class ParcelReturned(Record):
    """A node gave a parcel back untouched (or, not ``given``, has begun it and keeps it)."""

    now_ns: int
    node: int
    job: int
    parcel: int
    attempt: int
    given: bool


class InputEnded(Record):
    """A controller has no more parcels for the job."""

    now_ns: int
    job: int


class JobCancelled(Record):
    """A controller wants no more results of the job, or is gone."""

    now_ns: int
    job: int


class ItemCancelled(Record):
    """A controller wants no result of one item of a parcel; it says so of each attempt.

    What it says before the attempt comes is kept until then, for one attempt of each job.
    """

    now_ns: int
    job: int
    parcel: int
    attempt: int
    index: int


class PlaceWanted(Record):
    """A single call of the job came, and it has no node; the one of this number refused the last."""

    now_ns: int
    job: int
    refused_by: int = -1


class TimePassed(Record):
    """Nothing happened, but a time asked for by `WakeAt` has come."""

    now_ns: int


class Demand(Record):
    """Ask the job's controller for one parcel of up to so many packets, cut for the node.

    ``cpu_count``: how many of the job's tasks the node runs at once.
    """

    controller: int
    job: int
    node: int
    cpu_count: int
    packets: int


class Resend(Record):
    """Ask the job's controller to send a parcel again, to this node, as this attempt.

    The attempt ``beside``, if there is one, goes on, and whichever is complete first counts. Or,
    with ``redraw``, what the parcel holds is to come in others, as these are asked for; it was the last.
    """

    controller: int
    job: int
    parcel: int
    attempt: int
    node: int
    beside: int = 0
    redraw: bool = False


class IntroduceJob(Record):
    """Tell the node about a job of which it is about to get its first parcel or call."""

    node: int
    job: int


class SendParcel(Record):
    """Forward the parcel that just arrived."""

    node: int
    job: int
    parcel: int
    attempt: int


class PlaceCalls(Record):
    """Send the job's single calls to this node."""

    node: int
    job: int


class ForwardResults(Record):
    """Pass the results that just arrived to the controller."""

    controller: int
    job: int
    parcel: int
    attempt: int


class TakeBack(Record):
    """Ask the node for a parcel that it may not have begun; `ParcelReturned` answers."""

    node: int
    job: int
    parcel: int
    attempt: int


class Abandon(Record):
    """Tell the node to drop a parcel: another node was faster."""

    node: int
    job: int
    parcel: int
    attempt: int


class CancelItem(Record):
    """Tell the node that has this attempt of a parcel to have an item of it fail, unless it is done."""

    node: int
    job: int
    parcel: int
    attempt: int
    index: int


class ForgetJob(Record):
    """Tell the node to drop whatever it has of the job."""

    node: int
    job: int


class FinishJob(Record):
    """Tell the controller that the job is complete."""

    controller: int
    job: int


class FailParcel(Record):
    """Tell the controller that a parcel was given up."""

    controller: int
    job: int
    parcel: int
    reason: str


class FailJob(Record):
    """Tell the controller that the job cannot run; it is dropped.

    Codes: version, nodes (none has what it needs).
    """

    controller: int
    job: int
    code: str
    reason: str


class WakeAt(Record):
    """Send `TimePassed` at this time."""

    at_ns: int


Event = (
    NodeJoined
    | NodeDraining
    | SlotsLent
    | NodeLost
    | JobSubmitted
    | ParcelArrived
    | ResultsArrived
    | ParcelReturned
    | InputEnded
    | JobCancelled
    | ItemCancelled
    | PlaceWanted
    | TimePassed
)
Command = (
    Demand
    | Resend
    | IntroduceJob
    | SendParcel
    | PlaceCalls
    | ForwardResults
    | TakeBack
    | Abandon
    | CancelItem
    | ForgetJob
    | FinishJob
    | FailParcel
    | FailJob
    | WakeAt
)
