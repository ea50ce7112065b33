"""The items that a worker runs, of which another thread may take back what was not begun.

Knows a unit's list of items, and how far its loop has come. Knows nothing of functions, results or channels.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any

__all__ = ["RunningItems"]


class RunningItems:
    """The unit that runs now, of which another thread may take back what was not begun, and those to come.

    Units are told apart by counting them. The loop over items iterates over a list, which ends where the
    list ends: so nothing is paid for each item. Whatever thread runs when, the number of results says what
    was done.

    Attributes:
        leaving: Whether the process is to end with the unit that it runs.
        promised: How many items of this unit it said that it will run, if it did not run all.
    """

    __slots__ = (
        "_cut",
        "_first",
        "_given_back",
        "_items",
        "_last_tasks",
        "_lock",
        "_packet_tasks",
        "_progress",
        "_remaining",
        "_rest",
        "_say",
        "_unit",
        "_within",
        "leaving",
        "promised",
    )

    def __init__(self, progress: memoryview) -> None:
        self._progress = progress
        self._items: list[Any] | None = None
        self._remaining: Iterator[Any] = iter([])
        self._rest: list[Any] = []
        self._first = 0
        self._packet_tasks = 1
        self._last_tasks = 1
        self._lock = allocate_lock()
        self._unit = 0
        self._cut = False
        self._within = False
        self._given_back: set[int] = set()
        self.leaving = False
        self.promised: int | None = None
        self._say: Callable[[int, int], None] | None = None

    def next_unit(self) -> bool:
        """Come to the next unit; False if it was given back."""
        with self._lock:
            self._unit += 1
            self._cut = self.leaving
            self._within = False
            self._say = None
            self.promised = None
            if self._unit in self._given_back:
                self._given_back.remove(self._unit)
                return False
            return True

    def begin(self, items: list[Any], first: int, packet_tasks: int, reduces: bool) -> Iterator[Any]:
        """These are run from now on.

        Args:
            items: The arguments.
            first: The index of the first of them.
            packet_tasks: Where they may be handed back: between so many; 0: anywhere.
            reduces: So many are reduced together here, so that none of them can be left to others.
        """
        with self._lock:
            self._first = first
            self._packet_tasks = max(packet_tasks, 1)
            self._last_tasks = self._packet_tasks if reduces else 1
            self._remaining = iter(items)
            self._items = items
            if self._cut:  # while they were loaded
                within = self.leaving or self._within
                self._cut_at(items, self._last_tasks if within else self._packet_tasks)
                if self._say is not None:
                    self._promise(self._say)
            return self._remaining

    def end(self) -> None:
        """They are done."""
        with self._lock:
            self._items = None
            self._remaining = iter([])
            # What was not run ends in this thread, where the user's code expects to be run.
            rest, self._rest = self._rest, []
        del rest

    def hand_back(self, unit: int, say: Callable[[int, int], None], *, within: bool = False) -> None:
        """Take back what was not begun of a unit. In another thread.

        Args:
            unit: Its number.
            say: Called with that and how many of its items are run all the same, once that is known.
            within: Perhaps from within a slice, unless it is reduced here.
        """
        with self._lock:
            if unit > self._unit:
                if unit not in self._given_back:
                    self._given_back.add(unit)
                    # With the lock held: else the answer to a later unit could be sent before this.
                    say(unit, 0)
            elif unit == self._unit:
                self._say = say
                self._within = self._within or within
                self._cut_here(self._last_tasks if within else self._packet_tasks)
                self._promise(say)

    def leave(self) -> None:
        """Begin nothing after the item that runs, or comes next, and have the process end. In any thread."""
        # No lock: what a signal runs in the main thread may come here while that holds it.
        self.leaving = True
        self._cut_here(self._last_tasks)

    def _cut_here(self, packet_tasks: int) -> None:
        self._cut = True
        items = self._items
        if items is None:
            return
        begun = max(len(items) - length_hint(self._remaining), 1)
        end = begun + -begun % packet_tasks
        self._cut_at(items, end)
        if end == begun and self._progress[0] < 0:
            # The item that runs is the last now, so it is known which it is.
            self._progress[0] = self._first + begun

    def _promise(self, say: Callable[[int, int], None]) -> None:
        """Say how many items are run in all after a cut, if that is known and still of use."""
        items = self._items
        if items is None or not self._rest:
            return
        # An iterator that has not ended says how many it gave. That may be more than there are now, if this
        # process took some while the list was being cut.
        state = self._remaining.__reduce__()
        if len(state) > 2:
            promised = max(len(items), int(state[2]))
            if promised != self.promised:
                self.promised = promised
                say(self._unit, promised)

    def index(self) -> int:
        """Which item runs; while something is loaded or serialized, the one that was noted."""
        items = self._items
        if items is None:
            return abs(self._progress[0]) - 1
        return self._first + max(len(items) - length_hint(self._remaining), 1) - 1

    def _cut_at(self, items: list[Any], begun: int) -> None:
        self._rest += items[begun:]
        del items[begun:]
