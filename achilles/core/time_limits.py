"""When to see how long a worker's item runs already, and whether that is too long.

Nobody tells this brain when an item begins: that would cost something for each. Instead a worker
that runs a job with a limit is looked at, at most once per limit, and then again at the moment when the
item that it runs reaches the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .slots_events import WorkerSeen
from .slots_state import JobState, WorkerState

__all__ = ["TimeLimits"]


class TimeLimits:
    """Watches the workers of one node.

    Args:
        all_jobs: The jobs, by number; kept up to date by the owner.

    Attributes:
        jobs: How many have a limit; while there is none, nothing needs to be asked here.
    """

    def __init__(self, all_jobs: Mapping[int, JobState]) -> None:
        self._all_jobs = all_jobs
        self.jobs = 0

    def look_at(self, worker: WorkerState, now_ns: int, since_ns: int | None = None) -> int | None:
        """When to look at a worker whose item began at ``since_ns``, or not before now; None: no need."""
        job = self._limited(worker)
        if job is None:
            return None
        at_ns = max((now_ns if since_ns is None else since_ns) + job.limit_ns, now_ns + 1)
        if now_ns < worker.look_at_ns <= at_ns:
            return None  # it will be looked at before
        worker.look_at_ns = at_ns
        return at_ns

    def due(self, workers: Iterable[WorkerState], now_ns: int) -> Iterator[int]:
        """The workers to be looked at now."""
        if not self.jobs:
            return
        for worker in workers:
            if 0 < worker.look_at_ns <= now_ns:
                worker.look_at_ns = 0
                if self._limited(worker) is not None:
                    yield worker.worker

    def begun_at(self, worker: WorkerState, seen: WorkerSeen) -> int | None:
        """When the worker began the item that it runs, if it is one of its first piece."""
        job = self._limited(worker)
        if job is None or seen.running is None or seen.job != job.job or not seen.since_ns:
            return None
        piece = worker.pieces[0]
        start = piece.first + piece.skip
        return seen.since_ns if start <= seen.running < start + piece.tasks else None

    def is_over(self, worker: WorkerState, since_ns: int, now_ns: int) -> bool:
        """Whether an item that began then runs for too long."""
        job = self._limited(worker)
        return job is not None and now_ns - since_ns >= job.limit_ns

    def _limited(self, worker: WorkerState) -> JobState | None:
        """The job of what a worker runs, if its items have a limit."""
        if worker.stopping or not worker.pieces or worker.pieces[0].parts is not None:
            return None
        job = self._all_jobs.get(worker.pieces[0].key[0])
        return job if job is not None and job.limit_ns else None
