"""Weighted fair queueing: whose turn is it, when everybody wants some?

Each key (a job) carries a virtual time: the service it was given, divided by its weight. The key
with the smallest virtual time is served next, so over any stretch in which two keys both want
service they receive it in the ratio of their weights. A key that comes back from idling starts at
the present virtual time: it can neither save up service nor be made to pay for having idled.
(A. Demers, S. Keshav, S. Shenker, "Analysis and simulation of a fair queueing algorithm", 1989.)

The present is the virtual time at which the latest service started (P. Goyal, H. Vin, H. Cheng,
"Start-time fair queueing", 1997). It is not the least of all virtual times: a key that cannot use
what is on offer may lag behind for long, and a newcomer that started there would shut the others out
until it had caught up.

The heap holds one live entry per active key, at the key's virtual time or before it: service only adds
to that, so the entry of a key that was served is moved when it surfaces. Entries made stale by a
removal, or by a correction downwards, are dropped when they surface or outnumber the live ones. So
every operation is O(log n) amortized, and to account service takes no time at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Present:
    """The virtual time at which the latest service started, of all queues that share it."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0


class FairQueue(Generic[K]):
    """Keys in the order in which they are due, cheapest virtual time first.

    Args:
        present: Of queues that are served in turns; each gives its keys to some who serve, and not to all.
    """

    def __init__(self, present: Present | None = None) -> None:
        self._virtual_time: dict[K, float] = {}
        self._weight: dict[K, float] = {}
        self._entry: dict[K, int] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
        self._present = present or Present()

    def __len__(self) -> int:
        """Number of active keys."""
        return len(self._entry)

    def __contains__(self, key: object) -> bool:
        return key in self._entry

    @property
    def is_unused(self) -> bool:
        """Whether no key is known, active or not."""
        return not self._virtual_time

    def add(self, key: K, weight: float = 1.0) -> None:
        """Make a new key known, not yet active."""
        self._virtual_time[key] = self._present.now
        self._weight[key] = weight

    def remove(self, key: K) -> None:
        """Forget a key entirely."""
        self._entry.pop(key, None)
        self._virtual_time.pop(key, None)
        self._weight.pop(key, None)

    def activate(self, key: K) -> None:
        """Say that the key wants service."""
        if key in self._entry:
            return
        self._virtual_time[key] = max(self._virtual_time[key], self._present.now)
        self._push(key)

    def deactivate(self, key: K) -> None:
        """Say that the key wants nothing for now."""
        self._entry.pop(key, None)

    def serve(self, key: K, service: float) -> None:
        """Account service that begins now (any unit, the same for all keys)."""
        virtual_time = self._virtual_time.get(key)
        if virtual_time is not None and virtual_time > self._present.now:
            self._present.now = virtual_time
        self.charge(key, service)

    def charge(self, key: K, service: float) -> None:
        """Correct the account of a key: earlier service proved longer, or (negative) shorter."""
        if service and key in self._virtual_time:
            self._virtual_time[key] += service / self._weight[key]
            if service < 0 and key in self._entry:
                self._push(key)

    def first(self) -> K | None:
        """The key due next, or None."""
        heap = self._heap
        while heap:
            virtual_time, serial, key = heap[0]
            if self._entry.get(key) != serial:
                heapq.heappop(heap)
            elif virtual_time >= self._virtual_time[key]:
                return key
            else:
                self._serial += 1
                self._entry[key] = self._serial
                heapq.heapreplace(heap, (self._virtual_time[key], self._serial, key))
        return None

    def due_at(self, key: K) -> float:
        """The virtual time of a known key."""
        return self._virtual_time[key]

    def first_that(self, accepts: Callable[[K], bool]) -> K | None:
        """The first key in due order for which ``accepts`` is true, or None."""
        passed: list[tuple[float, int, K]] = []
        found: K | None = None
        while (key := self.first()) is not None:
            if accepts(key):
                found = key
                break
            passed.append(heapq.heappop(self._heap))
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found

    def __iter__(self) -> Iterator[K]:
        """Active keys, in no particular order."""
        return iter(self._entry)

    def _push(self, key: K) -> None:
        self._serial += 1
        self._entry[key] = self._serial
        heapq.heappush(self._heap, (self._virtual_time[key], self._serial, key))
        if len(self._heap) > 4 * len(self._entry) + 64:
            self._heap = [entry for entry in self._heap if self._entry.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)
