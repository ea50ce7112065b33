"""What a job has cost so far, for who wants to know what limits it."""

from __future__ import annotations

from .record import Record, made_by

__all__ = ["Tally"]


class Tally(Record):
    """Sums over a job's parcels; of tasks that ran twice, both runs.

    ``units``: in so many pieces their results came. ``busy_us``: time in workers, loading arguments and
    serializing results included. ``longest_us``: of the task that took longest, as far as tasks were measured
    one by one. ``slots``: by node, how many it has.
    """

    tasks: int = 0
    units: int = 0
    busy_us: int = 0
    longest_us: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    slots: dict[int, int] = made_by(default_factory=dict)

    def add(self, tasks: int, units: int, busy_us: int, longest_us: float, size_bytes: int) -> None:
        """Results of so many tasks came in."""
        self.tasks += tasks
        self.units += units
        self.busy_us += busy_us
        if longest_us > self.longest_us:
            self.longest_us = longest_us
        self.received_bytes += size_bytes
