"""Results that wait for the rest of their parcel, and must not wait for long.

Results are gathered, so that short tasks share a frame. What is gathered is sent when another result comes
and enough time has passed; but the next one may take an hour. So a wake-up is kept for the parcel that is due
first, and another is asked for only when one is due sooner: few, however many parcels there are.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from .slots_events import ParcelKey
from .slots_state import ParcelState

__all__ = ["FLUSH_BYTES", "FLUSH_NS", "PATIENT_FLUSH_NS", "LateResults"]

# How much waits for others at most, and how long.
FLUSH_BYTES = 256 * 1024
FLUSH_NS = 50_000_000
# How long where nobody sees them before the last is there, once it is known how long tasks take.
PATIENT_FLUSH_NS = 250_000_000


class LateResults:
    """Parcels with results that were not sent, by when they should be.

    Args:
        parcels: All parcels of the node, by key.
    """

    def __init__(self, parcels: Mapping[ParcelKey, ParcelState]) -> None:
        self._parcels = parcels
        self._waiting: dict[ParcelKey, None] = {}
        self._due: list[tuple[int, ParcelKey]] = []  # a heap
        self._wakes_at_ns = 0  # 0: nobody looks

    def to_send(
        self, parcel: ParcelState, size_bytes: int, patience_ns: int, now_ns: int
    ) -> tuple[bool, int | None]:
        """More results of a parcel are there: whether to send what it has; else when to look at it."""
        parcel.kept_bytes += size_bytes
        late = now_ns - parcel.sent_ns >= patience_ns
        if parcel.is_complete or late or parcel.kept_bytes >= FLUSH_BYTES:
            return True, None
        return False, self.note(parcel.key, parcel.sent_ns + patience_ns)

    def note(self, key: ParcelKey, due_ns: int) -> int | None:
        """A parcel has results that wait until then; returns when to look, if sooner than was said."""
        if key in self._waiting:
            return None
        self._waiting[key] = None
        heapq.heappush(self._due, (due_ns, key))
        return self._wake()

    def sent(self, key: ParcelKey) -> None:
        """Nothing of it waits any more."""
        self._waiting.pop(key, None)

    def take_due(self, now_ns: int) -> tuple[list[ParcelState], int | None]:
        """The parcels whose results have waited for long enough, and when to look again."""
        if not self._due or self._due[0][0] > now_ns:
            return [], None
        found = []
        while self._due and (self._due[0][0] <= now_ns or self._due[0][1] not in self._waiting):
            key = heapq.heappop(self._due)[1]
            if key in self._waiting:
                del self._waiting[key]
                parcel = self._parcels.get(key)
                if parcel is not None and parcel.done:
                    found.append(parcel)
        self._wakes_at_ns = 0
        return found, self._wake()

    def _wake(self) -> int | None:
        if not self._due or 0 < self._wakes_at_ns <= self._due[0][0]:
            return None
        self._wakes_at_ns = self._due[0][0]
        return self._wakes_at_ns
