"""What a job's threads wait for."""

from __future__ import annotations

import threading

__all__ = ["Changes"]


class Changes(threading.Condition):
    """A condition that counts its changes, for a thread that looks for them elsewhere as well."""

    number = 0

    def notify_all(self) -> None:
        """Count one more, and wake all that wait."""
        self.number += 1
        super().notify_all()
