"""The facts the scheduler hears and the commands it gives.

Events are in the past tense and carry the time at which they happened (``now_ns``, any monotonic
clock). Commands are imperatives for the body around the scheduler. Nodes, controllers and jobs
are named by numbers that the body chooses; a parcel is named by its job and a number that the
controller chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_JOB_BYTES = 256 * 1024 * 1024
PythonVersion = tuple[int, int]
# (first index, tasks, status, busy_us); the payload stays with the body.
Segment = tuple[int, int, int, int]


@dataclass(slots=True)
class NodeJoined:
    """A node is connected and proved its right. ``alone``: there will never be another."""

    now_ns: int
    node: int
    cpu_count: int
    python: PythonVersion
    alone: bool = False


@dataclass(slots=True)
class NodeDraining:
    """A node finishes what it has and wants nothing more."""

    now_ns: int
    node: int


@dataclass(slots=True)
class NodeLost:
    """A node's connection is gone."""

    now_ns: int
    node: int


@dataclass(slots=True)
class JobSubmitted:
    """A controller announced a job. ``python`` is set when its function travels as bytecode.

    Once ``most_bytes`` of its payload lie at nodes, nothing more is asked for.
    ``speculate``: a parcel that runs unusually long may run a second time on an idle node.
    """

    now_ns: int
    job: int
    controller: int
    chunksize: int
    python: PythonVersion | None = None
    weight: float = 1.0
    most_bytes: int = MAX_JOB_BYTES
    speculate: bool = False


@dataclass(slots=True)
class ParcelArrived:
    """A controller's parcel came in, cut for ``node``, or sent again to it as a later attempt."""

    now_ns: int
    job: int
    parcel: int
    node: int
    tasks: int
    size_bytes: int
    attempt: int = 1
    first: int = 0  # index of its first task


@dataclass(slots=True)
class ResultsArrived:
    """A node finished some ranges of a parcel."""

    now_ns: int
    node: int
    job: int
    parcel: int
    attempt: int
    segments: list[Segment]


@dataclass(slots=True)
class ParcelReturned:
    """A node gave a parcel back untouched (or, not ``given``, has begun it and keeps it)."""

    now_ns: int
    node: int
    job: int
    parcel: int
    attempt: int
    given: bool


@dataclass(slots=True)
class InputEnded:
    """A controller has no more parcels for the job."""

    now_ns: int
    job: int


@dataclass(slots=True)
class JobCancelled:
    """A controller wants no more results of the job, or is gone."""

    now_ns: int
    job: int


@dataclass(slots=True)
class TimePassed:
    """Nothing happened, but a time asked for by `WakeAt` has come."""

    now_ns: int


@dataclass(slots=True)
class Demand:
    """Ask the job's controller for one parcel of up to so many packets, cut for the node."""

    controller: int
    job: int
    node: int
    cpu_count: int
    packets: int


@dataclass(slots=True)
class Resend:
    """Ask the job's controller to send a parcel again, to this node, as this attempt.

    The attempt ``beside``, if there is one, goes on, and whichever is complete first counts.
    """

    controller: int
    job: int
    parcel: int
    attempt: int
    node: int
    beside: int = 0


@dataclass(slots=True)
class IntroduceJob:
    """Tell the node about a job of which it is about to get its first parcel."""

    node: int
    job: int


@dataclass(slots=True)
class SendParcel:
    """Forward the parcel that just arrived."""

    node: int
    job: int
    parcel: int
    attempt: int


@dataclass(slots=True)
class ForwardResults:
    """Pass the results that just arrived to the controller."""

    controller: int
    job: int
    parcel: int
    attempt: int


@dataclass(slots=True)
class TakeBack:
    """Ask the node for a parcel that it may not have begun; `ParcelReturned` answers."""

    node: int
    job: int
    parcel: int
    attempt: int


@dataclass(slots=True)
class Abandon:
    """Tell the node to drop a parcel: another node was faster."""

    node: int
    job: int
    parcel: int
    attempt: int


@dataclass(slots=True)
class ForgetJob:
    """Tell the node to drop whatever it has of the job."""

    node: int
    job: int


@dataclass(slots=True)
class FinishJob:
    """Tell the controller that the job is complete."""

    controller: int
    job: int


@dataclass(slots=True)
class FailParcel:
    """Tell the controller that a parcel was given up."""

    controller: int
    job: int
    parcel: int
    reason: str


@dataclass(slots=True)
class FailJob:
    """Tell the controller that the job cannot run; it is dropped."""

    controller: int
    job: int
    code: str
    reason: str


@dataclass(slots=True)
class WakeAt:
    """Send `TimePassed` at this time."""

    at_ns: int


Event = (
    NodeJoined
    | NodeDraining
    | NodeLost
    | JobSubmitted
    | ParcelArrived
    | ResultsArrived
    | ParcelReturned
    | InputEnded
    | JobCancelled
    | TimePassed
)
Command = (
    Demand
    | Resend
    | IntroduceJob
    | SendParcel
    | ForwardResults
    | TakeBack
    | Abandon
    | ForgetJob
    | FinishJob
    | FailParcel
    | FailJob
    | WakeAt
)
