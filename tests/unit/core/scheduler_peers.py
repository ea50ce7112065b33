"""What honest peers of a scheduler know of a job, for the tests of events in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

from achilles.core import scheduler_events as ev


@dataclass
class Parcel:
    """A parcel as its controller and its nodes know it."""

    first: int
    tasks: int
    size_bytes: int
    attempts: dict[int, int] = field(default_factory=dict)  # sent as this attempt -> to this node
    losses: int = 0
    current: int = 0  # the attempt that counts, 0 while it is on no node
    missing: list[tuple[int, int]] = field(default_factory=list)  # of the current attempt


@dataclass
class Job:
    """A job as its controller knows it."""

    chunksize: int
    python: tuple[int, int] | None
    name: str | None = None  # of the only kind of node that may run it
    slots: int = 1
    demands: list[ev.Demand] = field(default_factory=list)
    resends: list[ev.Resend] = field(default_factory=list)
    parcels: dict[int, Parcel] = field(default_factory=dict)  # not done
    done: dict[int, Parcel] = field(default_factory=dict)
    next_parcel: int = 0
    next_index: int = 0
    ended: bool = False
