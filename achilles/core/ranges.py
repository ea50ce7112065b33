"""Which part of a parcel is in: ranges of tasks that must neither overlap nor lie outside.

Whoever sends results may be broken or hostile. A range that counted twice would complete a parcel
whose other tasks were never run, so each one is checked before anything is counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["Ranges"]

# Lists of ranges are replaced, never changed; so all that are empty are this one.
_NONE: list[int] = []


class Ranges:
    """Ranges that are done, of the tasks ``first`` to ``first + tasks - 1``.

    A parcel of no tasks (one empty list) is done with one range of no tasks.

    Args:
        first: Index of the first task.
        tasks: How many there are.
    """

    __slots__ = ("_ends", "_starts", "end", "first")

    def __init__(self, first: int, tasks: int) -> None:
        self.first = first
        self.end = first + tasks
        # Ends and starts of what is done, neighbours joined; both sorted.
        self._starts = self._ends = _NONE

    def add(self, ranges: Sequence[tuple[int, int]]) -> str | None:
        """Note ``(first, tasks)`` ranges as done; or say what is wrong with one, and note nothing."""
        if len(ranges) == 1 and not self._starts and ranges[0][1]:  # the common case
            first, tasks = ranges[0]
            if self.first <= first and first + tasks <= self.end:
                self._starts, self._ends = [first], [first + tasks]
                return None
        starts, ends = self._starts.copy(), self._ends.copy()
        for first, tasks in ranges:
            end = first + tasks
            if first < self.first or end > self.end:
                return f"{_name(first, tasks)} of the parcel's {_name(self.first, self.end - self.first)}"
            if not tasks:
                if self.end > self.first or starts:
                    return f"{_name(first, tasks)}, which is no result"
                starts, ends = [first], [first]
                continue
            place = bisect_right(starts, first)
            if (place and ends[place - 1] > first) or (place < len(starts) and starts[place] < end):
                return f"{_name(first, tasks)}, of which some came before"
            joins_left = place > 0 and ends[place - 1] == first
            joins_right = place < len(starts) and starts[place] == end
            if joins_left and joins_right:
                ends[place - 1] = ends.pop(place)
                del starts[place]
            elif joins_left:
                ends[place - 1] = end
            elif joins_right:
                starts[place] = first
            else:
                starts.insert(place, first)
                ends.insert(place, end)
        self._starts, self._ends = starts, ends
        return None

    @property
    def begun(self) -> int:
        """How many tasks are done from the first on, without a gap."""
        return self._ends[0] - self.first if self._starts and self._starts[0] == self.first else 0

    def clear(self) -> None:
        """Nothing is done any more."""
        self._starts = self._ends = _NONE


def _name(first: int, tasks: int) -> str:
    return f"items {first} to {first + tasks - 1}" if tasks else f"no items at {first}"
