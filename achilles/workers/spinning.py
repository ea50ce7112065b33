"""Looking again and again for a short while, before going to sleep: while that proves good."""

from __future__ import annotations

import select
from time import perf_counter_ns

__all__ = ["SPIN_NS", "Spinning"]

# Longer than it takes to answer a short call and make the next, about as long as to sleep and be woken.
SPIN_NS = 300_000
# After a failure so many calls are not waited for in this way at most, twice as many each time.
MOST_SKIPPED = 255


class Spinning:
    """Spins for what is expected soon, and less often when it does not come soon.

    Args:
        spin_ns: How soon that is.

    Two processes that talk save waking each other, if each has a core to itself. Where more want to run
    than there are cores, who spins keeps the other one from answering; and a task may be long.
    """

    __slots__ = ("_skip", "_skipped", "_spin_ns")

    def __init__(self, spin_ns: int = SPIN_NS) -> None:
        self._spin_ns = spin_ns
        self._skip = 0
        self._skipped = 0

    def spin(self, poller: select.poll) -> bool:
        """Whether one of the poller's descriptors is ready, now or in a moment."""
        if self._skipped < self._skip:
            self._skipped += 1
            return False
        end_ns = perf_counter_ns() + self._spin_ns
        while True:
            ready = bool(poller.poll(0))
            late = perf_counter_ns() > end_ns
            if ready or late:
                break
        self._skipped = 0
        # Whoever was off its core for a while has seen that others want it, even if the answer is there now.
        self._skip = min(2 * self._skip + 1, MOST_SKIPPED) if late else 0
        return ready
