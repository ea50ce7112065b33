"""Drives a scheduler by hand, for the tests of its rules."""

from __future__ import annotations

from typing import Any

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler

MS = 1_000_000


class Driver:
    """A scheduler, a clock, and a memory of what it commanded."""

    def __init__(self, **settings: Any) -> None:
        self.brain = Scheduler(**settings)
        self.now_ns = 0

    def hear(self, event: type, *args: Any, **named: Any) -> list[ev.Command]:
        return self.brain.handle(event(self.now_ns, *args, **named))

    def node(self, node: int, cpu_count: int = 2, python: tuple[int, int] = (3, 11)) -> list[ev.Command]:
        return self.hear(ev.NodeJoined, node, cpu_count, python)

    def job(self, job: int, **named: Any) -> list[ev.Command]:
        return self.hear(ev.JobSubmitted, job, job, named.pop("chunksize", 1), **named)

    def parcel(
        self, job: int, parcel: int, node: int, tasks: int = 2, size: int = 10, attempt: int = 1
    ) -> list[ev.Command]:
        return self.hear(ev.ParcelArrived, job, parcel, node, tasks, size, attempt)

    def results(
        self, node: int, job: int, parcel: int, tasks: int = 2, attempt: int = 1, busy_us: int = 2_000
    ) -> list[ev.Command]:
        return self.hear(ev.ResultsArrived, node, job, parcel, attempt, [(0, tasks, 0, busy_us)])


def of(commands: list[ev.Command], *kinds: type) -> list[Any]:
    return [command for command in commands if isinstance(command, kinds)]
