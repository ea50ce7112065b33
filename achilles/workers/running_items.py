"""The items that a worker runs, of which another thread may take back what was not begun.

Knows a unit's list of items, and how far its loop has come. Knows nothing of functions, results or channels.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any, NamedTuple

__all__ = ["DoneItems", "RunningItems"]


class DoneItems(NamedTuple):
    """The first items of a unit that runs, as far as they are done and may be answered.

    Attributes:
        first: The index of the first.
        results: One for each.
        failures: (index, failure blob) of those that failed.
        busy_ns: How long they took.
    """

    first: int
    results: list[Any]
    failures: list[tuple[int, bytes]]
    busy_ns: int


class RunningItems:
    """The unit that runs now, of which another thread may take back what was not begun, and those to come.

    Units are told apart by counting them. The loop over items iterates over a list, which ends where the
    list ends: so nothing is paid for each item. Whatever thread runs when, the number of results says what
    was done.

    Attributes:
        leaving: Whether the process is to end with the unit that it runs.
        promised: How many items of this unit it said that it will run, if it did not run all.
        unit: The number of this unit.
        early_tasks: How many of its items were answered while it ran.
        early_busy_ns: How long these took.
        started_ns: When the unit began (`time.perf_counter_ns`), kept by who runs it.
        began_ns: When the items began that run now, likewise.
    """

    __slots__ = (
        "_cut",
        "_ended",
        "_failures",
        "_first",
        "_given_back",
        "_items",
        "_last_tasks",
        "_lock",
        "_packet_tasks",
        "_progress",
        "_remaining",
        "_rest",
        "_results",
        "_say",
        "_within",
        "began_ns",
        "early_busy_ns",
        "early_tasks",
        "leaving",
        "promised",
        "started_ns",
        "unit",
    )

    def __init__(self, progress: memoryview) -> None:
        self._progress = progress
        self._items: list[Any] | None = None
        self._remaining: Iterator[Any] = iter([])
        self._rest: list[Any] = []
        self._first = 0
        self._packet_tasks = 1
        self._last_tasks = 1
        self._results: list[Any] | None = None
        self._failures: list[tuple[int, bytes]] = []
        self._lock = allocate_lock()
        self.unit = 0
        self.early_tasks = self.early_busy_ns = 0
        self.started_ns = self.began_ns = 0
        self._cut = False
        self._within = False
        self._ended = False
        self._given_back: set[int] = set()
        self.leaving = False
        self.promised: int | None = None
        self._say: Callable[[int, int], None] | None = None

    def next_unit(self) -> bool:
        """Come to the next unit; False if it was given back."""
        with self._lock:
            self.unit += 1
            self._cut = self.leaving
            self._within = self._ended = False
            self._say = None
            self.promised = None
            self.early_tasks = self.early_busy_ns = 0
            if self.unit in self._given_back:
                self._given_back.remove(self.unit)
                return False
            return True

    def begin(
        self,
        items: list[Any],
        first: int,
        packet_tasks: int,
        reduces: bool,
        results: list[Any],
        failures: list[tuple[int, bytes]],
    ) -> Iterator[Any]:
        """These are run from now on.

        Args:
            items: The arguments.
            first: The index of the first of them.
            packet_tasks: Where they may be handed back: between so many; 0: anywhere.
            reduces: So many are reduced together here, so that none of them can be left to others.
            results: Takes one for each that is done.
            failures: Those of items that failed, each before its place in the results.
        """
        with self._lock:
            self._first = first
            self._packet_tasks = max(packet_tasks, 1)
            self._last_tasks = self._packet_tasks if reduces else 1
            self._remaining = iter(items)
            self._results = None if reduces else results
            self._failures = failures
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
            self._items = self._results = None
            self._failures = []
            self._ended = True
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
            if unit > self.unit:
                if unit not in self._given_back:
                    self._given_back.add(unit)
                    # With the lock held: else the answer to a later unit could be sent before this.
                    say(unit, 0)
            elif unit == self.unit:
                self._say = say
                self._within = self._within or within
                self._cut_here(self._last_tasks if within else self._packet_tasks)
                self._promise(say)

    def done_so_far(self, unit: int) -> DoneItems | None:
        """The first items of a unit that may be answered already, perhaps none. In another thread.

        Returns:
            None if it is over, can only be answered as a whole, or they were answered.
        """
        with self._lock:
            if unit != self.unit or self.early_tasks:
                return None
            items, results = self._items, self._results
            if items is None:  # perhaps it is loaded just now
                return None if self._ended else DoneItems(self._first, [], [], 0)
            if results is None:
                return None
            # Not the one that was drawn last, even if it is done: so something is left to be answered.
            drawn = len(items) - length_hint(self._remaining)
            tasks = max(min(len(results), drawn - 1), 0)
            tasks -= tasks % self._packet_tasks
            end = self._first + tasks
            failures = [failure for failure in self._failures if failure[0] < end]
            return DoneItems(self._first, results[:tasks], failures, self.began_ns - self.started_ns)

    def answer_early(self, unit: int, done: DoneItems, send: Callable[[], None]) -> None:
        """Send the results of a unit's first items, unless it is over or some went. In another thread."""
        with self._lock:
            if unit == self.unit and self._items is not None and not self.early_tasks:
                send()
                self.early_tasks, self.early_busy_ns = len(done.results), done.busy_ns

    def after_fork(self) -> None:
        """In a child of the worker, whose other threads are gone."""
        self._lock = allocate_lock()

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
                say(self.unit, promised - self.early_tasks)

    def index(self) -> int:
        """Which item runs; while something is loaded or serialized, the one that was noted."""
        items = self._items
        if items is None:
            return abs(self._progress[0]) - 1
        return self._first + max(len(items) - length_hint(self._remaining), 1) - 1

    def _cut_at(self, items: list[Any], begun: int) -> None:
        self._rest += items[begun:]
        del items[begun:]
