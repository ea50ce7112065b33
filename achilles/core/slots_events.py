"""The facts the slots' brain hears and the commands it gives.

A *piece* is a range of one unit as one worker gets it: at first the whole unit, after a death
smaller ranges of it. Pieces are numbered by the brain. Workers are numbered by the body.
"""

from __future__ import annotations

from .record import Record

# (job, parcel, attempt)
ParcelKey = tuple[int, int, int]


class WorkerStarted(Record):
    """A worker process is up and waits for work."""

    now_ns: int
    worker: int


class WorkerDied(Record):
    """A worker process is gone. ``running`` is the index of the item it was at, or None.

    Not ``exact``: it was that item or one soon after it, since short ones are not noted each.
    """

    now_ns: int
    worker: int
    running: int | None
    exact: bool = True


class WorkerLeaving(Record):
    """A worker ends by itself. It answers what it has run, which follows at once, and runs nothing else."""

    now_ns: int
    worker: int


class WorkerAsked(Record):
    """Somebody would have a worker to himself, for one call of a job's function."""

    now_ns: int
    job: int


class WorkerReturned(Record):
    """A worker that was lent has answered."""

    now_ns: int
    worker: int
    busy_ns: int


class JobIntroduced(Record):
    """A job's function is here.

    ``reduces``: each packet's results become one value. ``limit_ns``: how long an item may run, 0 for ever.
    ``priority``: pieces of a higher one run first. ``slots``: how many a task takes. ``chunksize``: how many
    tasks stay together while nothing goes wrong. ``patient``: nobody sees a result before the last is there.
    ``expected_ns``: how long a task takes, as far as that is known before one was run.
    """

    now_ns: int
    job: int
    reduces: bool = False
    limit_ns: int = 0
    priority: int = 0
    slots: int = 1
    chunksize: int = 1
    patient: bool = False
    expected_ns: float | None = None


class ParcelReceived(Record):
    """Work came in: the lengths of the parcel's units, and of its packets, and its size in all."""

    now_ns: int
    job: int
    parcel: int
    attempt: int
    first: int
    units: list[int]
    packet_tasks: int
    size_bytes: int = 0


class ParcelAskedBack(Record):
    """The server would give this parcel to an idle node."""

    now_ns: int
    key: ParcelKey


class DrainBegan(Record):
    """This node is to leave soon: what was not begun goes back."""

    now_ns: int


class PieceFinished(Record):
    """A worker answered. ``status``: 0 all well, 1 some items failed, 2 all failed.

    ``tasks``: how many items it has done, from the first; the others are given back. None: all.
    """

    now_ns: int
    worker: int
    piece: int
    status: int
    busy_ns: int
    size_bytes: int
    tasks: int | None = None


class PartFinished(Record):
    """A worker answered for the first items of a piece, at whose next one it is for long."""

    now_ns: int
    worker: int
    piece: int
    status: int
    busy_ns: int
    size_bytes: int
    tasks: int


class PieceCut(Record):
    """A worker that was asked to give back what it has not begun will answer for so many items only."""

    now_ns: int
    worker: int
    piece: int
    tasks: int


class ParcelAbandoned(Record):
    """The server wants nothing more of a parcel: another node was faster."""

    now_ns: int
    key: ParcelKey


class ItemCancelled(Record):
    """Nobody wants a result of this item of a parcel any more, which is here, or is the next to come."""

    now_ns: int
    key: ParcelKey
    index: int


class JobForgotten(Record):
    """Nobody wants anything of this job any more."""

    now_ns: int
    job: int


class WorkerSeen(Record):
    """The answer to `LookAt`: the item that a worker runs, and when it began it (0: not known).

    Not ``exact``: that item or one soon after it, as in `WorkerDied`.
    """

    now_ns: int
    worker: int
    job: int
    running: int | None
    since_ns: int
    exact: bool = True


class TimePassed(Record):
    """A time asked for by `WakeAt` has come."""

    now_ns: int


class TeachJob(Record):
    """Send the job's function to a worker that is about to need it."""

    worker: int
    job: int


class LendWorker(Record):
    """The answer to `WorkerAsked`, if one can be spared."""

    worker: int
    job: int


class RunPiece(Record):
    """Send items ``skip`` to ``skip + tasks`` of a unit to a worker.

    ``packet_tasks`` is not 0 when the worker is to reduce whole packets itself; or, if the job does not
    reduce, when so many tasks stay together. ``singly``: it is to note each item, so that its death would be
    exact.
    """

    worker: int
    piece: int
    key: ParcelKey
    unit: int
    first: int
    skip: int
    tasks: int
    packet_tasks: int
    singly: bool = False


class HandBack(Record):
    """Have a worker give back what it has not begun of a piece.

    If it runs the piece, it stops after the item that it is at; with ``packet_tasks`` at the end of the
    slice or packet, unless that may be cut ``within`` and is not reduced. `PieceFinished` says how far it
    came: not at all, and at once, if the piece stood behind another one. A worker that has no rest, or does
    not hear in time, finishes the piece as if nothing had been said.
    """

    worker: int
    piece: int
    within: bool = False


class RunReduce(Record):
    """Send the kept results of these pieces, in order, to a worker to be reduced to one value."""

    worker: int
    piece: int
    key: ParcelKey
    first: int
    tasks: int
    parts: list[int]


class SendResults(Record):
    """Send the kept results of these pieces: (piece, first, tasks, status, busy_us) each."""

    key: ParcelKey
    segments: list[tuple[int, int, int, int, int]]


class ReturnParcel(Record):
    """Tell the server that a parcel is given back untouched, or (not ``given``) was begun."""

    key: ParcelKey
    given: bool


class ReportDeath(Record):
    """Make the piece's result the error that its worker died, and keep it."""

    piece: int
    worker: int
    index: int
    attempts: int
    job: int


class ReportTimeout(Record):
    """Make the piece's result the error that its item ran too long, and keep it."""

    piece: int
    index: int
    limit_ns: int


class ReportCancelled(Record):
    """Make the piece's result the error that its item was cancelled, and keep it."""

    piece: int
    index: int


class DropParcel(Record):
    """Free the payload of a parcel."""

    key: ParcelKey


class KeepPart(Record):
    """What is kept of a piece that still runs is the result of another: of its first items."""

    piece: int
    of: int


class DropPiece(Record):
    """Free the kept result of a piece."""

    piece: int


class UnteachJob(Record):
    """Tell a worker to forget a job's function."""

    worker: int
    job: int


class StopWorker(Record):
    """End a worker that runs what nobody wants any more, or for too long; another takes its place."""

    worker: int


class LookAt(Record):
    """See what item a worker runs; answer with `WorkerSeen`, not within this event."""

    worker: int


class WakeAt(Record):
    """Send `TimePassed` at this time."""

    at_ns: int


Report = ReportDeath | ReportTimeout | ReportCancelled
Event = (
    WorkerStarted
    | WorkerDied
    | WorkerLeaving
    | WorkerAsked
    | WorkerReturned
    | JobIntroduced
    | ParcelReceived
    | ParcelAskedBack
    | DrainBegan
    | PieceFinished
    | PartFinished
    | PieceCut
    | ParcelAbandoned
    | ItemCancelled
    | JobForgotten
    | WorkerSeen
    | TimePassed
)
Command = (
    TeachJob
    | LendWorker
    | RunPiece
    | HandBack
    | RunReduce
    | SendResults
    | ReturnParcel
    | ReportDeath
    | ReportTimeout
    | ReportCancelled
    | DropParcel
    | KeepPart
    | DropPiece
    | UnteachJob
    | StopWorker
    | LookAt
    | WakeAt
)
