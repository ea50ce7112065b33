"""Messages about parcels that are to leave the node where they lie."""

from __future__ import annotations

from achilles.lineReceiver.control import Control
from achilles.lineReceiver.fields import Count, Slots

__all__ = ["Abandon", "Lent", "Returned", "TakeBack"]


class TakeBack(Control):
    """Server -> node: give this parcel back, if no worker has begun it; another node is idle."""

    job: Count
    parcel: Count
    attempt: Count


class Returned(Control):
    """Node -> server: the parcel is given back untouched; or, not ``given``, was begun."""

    job: Count
    parcel: Count
    attempt: Count
    given: bool


class Abandon(Control):
    """Server -> node: drop this parcel; another node was faster."""

    job: Count
    parcel: Count
    attempt: Count


class Lent(Control):
    """Node -> server: single calls have had so many of my slots for a while, and may have them for long."""

    slots: Slots
