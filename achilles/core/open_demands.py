"""Demands that were not answered yet, and when they are stale: what they reserve is then given to others."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from .scheduler_state import JobState

__all__ = ["STALE_NS", "OpenDemands"]

# How long an unanswered demand keeps its room reserved.
STALE_NS = 100_000_000
NEVER = 2**63


class OpenDemands:
    """The demands of all jobs, the oldest first; with some that were answered since.

    Args:
        jobs: All jobs, by number; kept by the scheduler.

    Attributes:
        look_at_ns: When one may be stale; nothing needs to be asked here before.
    """

    def __init__(self, jobs: Mapping[int, JobState]) -> None:
        self._jobs = jobs
        self._waiting: deque[tuple[int, int, int, int]] = deque()  # stale at, job, node, serial
        self._serial = 0
        self.look_at_ns = NEVER

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def made(self, job: JobState, node: int, now_ns: int) -> None:
        """A job is asked for a parcel for a node."""
        self._serial += 1
        job.open_demands[node] = self._serial
        job.asked += 1
        waiting = self._waiting
        for _ in range(2):  # as they are answered, so that no more are kept than are open
            if waiting and not self._is_open(waiting[0]):
                waiting.popleft()
        waiting.append((now_ns + STALE_NS, job.job, node, self._serial))
        if self.look_at_ns == NEVER:
            self.look_at_ns = now_ns

    def _is_open(self, demand: tuple[int, int, int, int]) -> bool:
        job = self._jobs.get(demand[1])
        return job is not None and job.open_demands.get(demand[2]) == demand[3]

    def stale(self, now_ns: int) -> list[tuple[JobState, int]]:
        """Jobs that have not answered in time, with the node, each once; sets ``look_at_ns``."""
        found: list[tuple[JobState, int]] = []
        self.look_at_ns = NEVER
        while self._waiting:
            stale_at_ns, number, node, serial = self._waiting[0]
            job = self._jobs.get(number)
            if job is not None and job.open_demands.get(node) == serial:
                if stale_at_ns > now_ns:
                    self.look_at_ns = stale_at_ns
                    break
                found.append((job, node))
            self._waiting.popleft()
        return found
