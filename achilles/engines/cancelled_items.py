"""Which items of a job its caller has cancelled, and where that is to be said.

Whoever runs a parcel is told of its cancelled items after he got it. He keeps that in mind as long as the
parcel: so it is said again with each attempt, and a parcel that is not drawn yet is told of in its time.
"""

from __future__ import annotations

from ..core.submission import Submission

__all__ = ["CancelledItems"]


class CancelledItems:
    """The cancelled items that may not be done yet.

    Args:
        brain: The job's; knows what was drawn.
    """

    def __init__(self, brain: Submission) -> None:
        self._brain = brain
        self._indices: set[int] = set()

    def add(self, index: int) -> list[tuple[int, int]]:
        """Note an item; returns whom to tell: the running attempts (parcel, attempt) that have it."""
        if index >= self._brain.tasks_drawn:
            self._indices.add(index)
            return []
        for number, parcel in self._brain.parcels.items():
            if not parcel.complete and 0 <= index - parcel.first < parcel.tasks:
                self._indices.add(index)
                return [(number, attempt) for attempt in parcel.attempts]
        return []

    def of_parcel(self, number: int) -> list[int]:
        """The cancelled items of a parcel."""
        if not self._indices:
            return []
        parcel = self._brain.parcels[number]
        return sorted(index for index in self._indices if 0 <= index - parcel.first < parcel.tasks)

    def done(self, number: int) -> None:
        """A parcel is complete."""
        if self._indices:
            self._indices.difference_update(self.of_parcel(number))
