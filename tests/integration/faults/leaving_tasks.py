"""What workers run that leave often, apart from the tests: each of them imports this module anew."""

from __future__ import annotations

import os
import sys
import time

from achilles.workers.leaving import leave_after_this_item


class LeavesAfter:
    """A function that tells who ran an item, and has every process leave after so many."""

    def __init__(self, items: int, witness: object = None, sleep_s: float = 0.0) -> None:
        self.items = items
        self.witness = None if witness is None else str(witness)
        self.sleep_s = sleep_s

    def __call__(self, x: int) -> tuple[int, int]:
        if self.witness is not None:
            fd = os.open(self.witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, b"%d\n" % x)
            os.close(fd)
        time.sleep(self.sleep_s)
        ran = sys.__dict__.setdefault("items_of_this_test", [])
        ran.append(x)
        if len(ran) >= self.items:
            leave_after_this_item()
        return x, os.getpid()
