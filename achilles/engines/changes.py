"""What a job's threads wait for."""

from __future__ import annotations

import threading

from .interrupts import WAIT_S, opened

__all__ = ["Changes"]


class Changes:
    """A condition that counts its changes, for a thread that looks for them elsewhere as well.

    As `threading.Condition`, but of that only what a job needs, and with a wait that Ctrl-C ends
    without leaving the lock to nobody.

    Attributes:
        lock: Held by who looks at what changes; it is not this object, which would cost more to ask.
        number: How many changes there were.
    """

    def __init__(self) -> None:
        # Reentrant: the garbage collector may cancel a dropped iterator's job at any moment.
        self.lock = threading.RLock()
        self._waiting: list[threading.Lock] = []
        self.number = 0
        self.acquire = self.lock.acquire
        self.release = self.lock.release

    def notify_all(self) -> None:
        """Count one more, and wake all that wait; the lock is held."""
        self.number += 1
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.release()

    def wait(self, patience_s: float | None = None) -> bool:
        """Let the lock go until something changes, or for so long; the lock is held, and once only.

        Returns:
            Whether something has changed.
        """
        woken = threading.Lock()
        woken.acquire()
        self._waiting.append(woken)
        self.release()
        try:
            with opened():
                left_s = patience_s
                while left_s is None or left_s > 0:
                    slice_s = WAIT_S if left_s is None else min(WAIT_S, left_s)
                    if woken.acquire(timeout=slice_s):
                        break
                    if left_s is not None:
                        left_s -= slice_s
        finally:
            self.acquire()
            changed = woken not in self._waiting
            if not changed:
                self._waiting.remove(woken)
        return changed
