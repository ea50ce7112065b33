"""How many cores this process may use."""

from __future__ import annotations

import os

__all__ = ["SPINS", "WITHIN_CORES", "available_cores"]

#: Set for workers, and so for all that user code starts: how many cores are theirs.
WITHIN_CORES = "ACHILLES_WITHIN_CORES"


def available_cores() -> int:
    """The cores this process may use; within a worker, the worker's share."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    share = os.environ.get(WITHIN_CORES, "")
    return min(cores, max(int(share), 1)) if share.isdecimal() else cores


# Whoever spins on the only core keeps the other from running.
SPINS = available_cores() > 1
