"""Whose turn it is, when some come before others: a `FairQueue` for each priority.

Keys of a higher priority come strictly first, those of one priority take turns. Within a priority, keys
that only some can serve are in queues of their own, by group, so that nobody else passes over them; the
queues of a priority share one present, so that turns are fair between them as well.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from .fairness import FairQueue, Present

__all__ = ["Level", "Levels"]

K = TypeVar("K", bound=Hashable)


class Level(Generic[K]):
    """The queues of one priority.

    Attributes:
        open: That of keys that anybody can serve.
        keys: How many keys it has, and of these:
        active: How many.
    """

    __slots__ = ("_grouped", "_present", "active", "keys", "open", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.keys = 0
        self.active = 0
        self._present = Present()
        self.open: FairQueue[K] = FairQueue(self._present)
        self._grouped: dict[Hashable, FairQueue[K]] = {}

    def queue_for(self, group: Hashable | None) -> FairQueue[K]:
        """The queue of a group; None: of the keys that anybody can serve."""
        if group is None:
            return self.open
        if group not in self._grouped:
            self._grouped[group] = FairQueue(self._present)
        return self._grouped[group]

    @property
    def is_plain(self) -> bool:
        """Whether anybody can serve all keys."""
        return not self._grouped

    def tidy(self) -> None:
        """Forget groups that have no keys any more."""
        self._grouped = {group: queue for group, queue in self._grouped.items() if not queue.is_unused}

    def first_that(self, accepts: Callable[[K], bool], groups: Iterable[Hashable] = ()) -> K | None:
        """The first key in due order, of these groups or of none, for which ``accepts`` is true."""
        first = self.open.first_that(accepts)
        if not self._grouped:
            return first
        first_at = None if first is None else self.open.due_at(first)
        for group in groups:
            queue = self._grouped.get(group)
            key = None if queue is None else queue.first_that(accepts)
            if queue is not None and key is not None:
                due_at = queue.due_at(key)
                if first_at is None or due_at < first_at:
                    first, first_at = key, due_at
        return first


class Levels(Generic[K]):
    """Keys in the order in which they are due: by priority, and then in turns.

    Attributes:
        active: The active keys.
        is_flat: Whether all keys have the same priority.
        serve: Account service of a key that begins now (any unit, the same for all keys).
        charge: Correct the account of a key: earlier service proved longer, or (negative) shorter.
    """

    serve: Callable[[K, float], None]
    charge: Callable[[K, float], None]

    def __init__(self) -> None:
        # The one that nearly all keys have stays.
        self._levels: dict[int, Level[K]] = {0: Level(0)}
        self._from_high: list[Level[K]] = list(self._levels.values())
        self._places: dict[K, tuple[Level[K], FairQueue[K]]] = {}
        self.active: dict[K, None] = {}
        self.is_flat = True
        self._arrange()

    def __len__(self) -> int:
        """Number of active keys."""
        return len(self.active)

    def __contains__(self, key: object) -> bool:
        return key in self.active

    def __iter__(self) -> Iterator[K]:
        """Active keys, in no particular order."""
        return iter(self.active)

    def from_high(self) -> Iterator[Level[K]]:
        """The levels with active keys, the highest first."""
        return (level for level in self._from_high if level.active)

    def active_from(self, priority: int) -> int:
        """How many keys of this priority or a higher one are active."""
        return sum(level.active for level in self._from_high if level.priority >= priority)

    def add(self, key: K, weight: float = 1.0, priority: int = 0, group: Hashable | None = None) -> None:
        """Make a new key known, not yet active."""
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = Level(priority)
        queue = level.queue_for(group)
        if level.priority or group is not None:
            self._arrange()
        queue.add(key, weight)
        level.keys += 1
        self._places[key] = level, queue

    def remove(self, key: K) -> None:
        """Forget a key entirely."""
        place = self._places.pop(key, None)
        if place is None:
            return
        level, queue = place
        if key in self.active:
            del self.active[key]
            level.active -= 1
        queue.remove(key)
        level.keys -= 1
        if queue.is_unused and queue is not level.open:
            level.tidy()
            self._arrange()
        if not level.keys and level.priority:
            del self._levels[level.priority]
            self._arrange()

    def _arrange(self) -> None:
        """Note which levels and queues there are."""
        self._from_high = [self._levels[priority] for priority in sorted(self._levels, reverse=True)]
        self.is_flat = len(self._from_high) == 1
        level = self._from_high[0]
        # Where there is but one queue, nobody needs to look for the right one.
        self._only = only = level.open if self.is_flat and level.is_plain else None
        self.serve = self._serve if only is None else only.serve
        self.charge = self._charge if only is None else only.charge

    def activate(self, key: K) -> None:
        """Say that the key wants service."""
        if key not in self.active:
            level, queue = self._places[key]
            self.active[key] = None
            level.active += 1
            queue.activate(key)

    def deactivate(self, key: K) -> None:
        """Say that the key wants nothing for now."""
        if key in self.active:
            level, queue = self._places[key]
            del self.active[key]
            level.active -= 1
            queue.deactivate(key)

    def _serve(self, key: K, service: float) -> None:
        place = self._places.get(key)
        if place is not None:
            place[1].serve(key, service)

    def _charge(self, key: K, service: float) -> None:
        place = self._places.get(key)
        if place is not None:
            place[1].charge(key, service)

    def due_at(self, key: K) -> float:
        """The virtual time of a known key, within its priority."""
        return self._places[key][1].due_at(key)

    def first(self) -> K | None:
        """The key due next of those that anybody can serve, or None."""
        for level in self._from_high:
            if level.active and (key := level.open.first()) is not None:
                return key
        return None

    def first_that(self, accepts: Callable[[K], bool], groups: Iterable[Hashable] = ()) -> K | None:
        """The first key in due order, of these groups or of none, for which ``accepts`` is true."""
        if self._only is not None:
            return self._only.first_that(accepts)
        for level in self._from_high:
            if level.active and (key := level.first_that(accepts, groups)) is not None:
                return key
        return None
