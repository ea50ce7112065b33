"""What a task costs, from measurements of very different worth."""

from __future__ import annotations

__all__ = ["Mean", "without_units"]

# What a unit takes beside its tasks, about; and it is not taken for more than so many times its tasks.
UNIT_NS = 20_000
MOST_OF_UNIT = 8

# A sample counts for so much of the mean at least, however small it is beside what came before: costs
# change in the course of a job, and a plan that takes long tasks for short ones is the worse mistake.
LEAST_SHARE = 0.3
_MEMORY = 1.0 / LEAST_SHARE - 1.0


def without_units(busy_ns: float, units: int) -> float:
    """How much of the time that workers took for so many units went into tasks, about."""
    return max(busy_ns - units * UNIT_NS, busy_ns / MOST_OF_UNIT)


class Mean:
    """A mean per task that follows changes.

    The first tasks of a job run singly and cost far more to begin than to run. So samples count by
    their tasks, as long as they grow: the first thousand say more than the eight before them.
    """

    __slots__ = ("_tasks", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        self._tasks = 0.0

    def add(self, total: float, tasks: int) -> None:
        """So many tasks cost so much together."""
        before = self._tasks
        if self.value is None:
            self.value = total / tasks
        else:
            if before > _MEMORY * tasks:
                before = _MEMORY * tasks
            self.value += (total / tasks - self.value) * tasks / (before + tasks)
        self._tasks = before + tasks
