"""Looking again and again for a short while, before going to sleep."""

from __future__ import annotations

import select
from time import perf_counter_ns

__all__ = ["SPIN_NS", "spin"]

# Longer than it takes to answer a short call and make the next, about as long as to sleep and be woken.
SPIN_NS = 100_000


def spin(poller: select.poll) -> bool:
    """Whether one of its descriptors is ready within that time."""
    end_ns = perf_counter_ns() + SPIN_NS
    while not poller.poll(0):
        if perf_counter_ns() > end_ns:
            return False
    return True
