"""Demands that were not answered yet, and when they are stale: what they reserve is then given to others."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from .scheduler_state import JobState

__all__ = ["STALE_NS", "OpenDemands"]

# How long an unanswered demand keeps its room reserved.
STALE_NS = 100_000_000


class OpenDemands:
    """The demands of all jobs, the oldest first.

    Args:
        jobs: All jobs, by number; kept by the scheduler.
    """

    def __init__(self, jobs: Mapping[int, JobState]) -> None:
        self._jobs = jobs
        self._waiting: deque[tuple[int, int, int, int]] = deque()  # stale at, job, node, serial
        self._serial = 0
        self._wakes_at_ns = -1

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def made(self, job: JobState, node: int, now_ns: int) -> None:
        """A job is asked for a parcel for a node."""
        self._serial += 1
        job.open_demands[node] = self._serial
        job.asked += 1
        self._waiting.append((now_ns + STALE_NS, job.job, node, self._serial))

    def stale(self, now_ns: int) -> tuple[list[tuple[JobState, int]], int | None]:
        """Jobs that have not answered in time, with the node, each once.

        And when to look again, if that was not asked for yet.
        """
        found: list[tuple[JobState, int]] = []
        while self._waiting:
            stale_at_ns, number, node, serial = self._waiting[0]
            job = self._jobs.get(number)
            if job is not None and job.open_demands.get(node) == serial:
                if stale_at_ns > now_ns:
                    break
                found.append((job, node))
            self._waiting.popleft()
        if not self._waiting or self._wakes_at_ns >= 0:
            return found, None
        self._wakes_at_ns = self._waiting[0][0]
        return found, self._wakes_at_ns

    def woken(self) -> None:
        """A time that was asked for has come."""
        self._wakes_at_ns = -1
