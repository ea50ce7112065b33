"""Idle workers that are lent for one call, past parcels and pieces.

Who makes a single call and waits for it needs no plan: if a worker is idle and nothing waits for one, it is
lent, and gets nothing else until it comes back. All that is decided of it is here; what it runs this
brain does not see. So nobody else is kept waiting but by the call itself, as by any other item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .levels import Levels
from .roomy_workers import RoomyWorkers
from .slots_events import Command, LendWorker, TeachJob, WorkerAsked, WorkerReturned
from .slots_state import JobState, WorkerState

__all__ = ["Lending"]


class Lending:
    """Lends workers.

    Args:
        jobs: All jobs, by number; kept by the slots' brain, as all of these.
        workers: All workers.
        turns: Jobs with pieces that wait.
        roomy: Workers that could take one.
    """

    def __init__(
        self,
        jobs: Mapping[int, JobState],
        workers: Mapping[int, WorkerState],
        turns: Levels[int],
        roomy: RoomyWorkers,
    ) -> None:
        self._jobs = jobs
        self._workers = workers
        self._turns = turns
        self._roomy = roomy
        self._last = -1  # the worker that was lent last

    def handle(self, event: WorkerAsked | WorkerReturned) -> list[Command]:
        """Lend a worker for a call of a job, if one can be spared; or take it back."""
        if isinstance(event, WorkerAsked):
            return list(self._lend(event.job))
        self._returned(event)
        return []

    def _lend(self, number: int) -> Iterator[Command]:
        job = self._jobs.get(number)
        if job is None or job.slots > 1 or job.limit_ns or len(self._turns):
            return
        worker = self._roomy.first_for(False)
        if worker is None:
            return
        last = self._workers.get(self._last)
        if last is not None and last.is_free:
            worker = last  # who has done so lately is the quickest to do so again
        self._last = worker.worker
        worker.lent_to = number
        self._roomy.note(worker)
        if number not in worker.jobs:
            worker.jobs.add(number)
            job.workers.add(worker.worker)
            yield TeachJob(worker.worker, number)
        yield LendWorker(worker.worker, number)

    def _returned(self, event: WorkerReturned) -> None:
        worker = self._workers.get(event.worker)
        if worker is None or worker.lent_to is None:
            return
        if worker.lent_to in self._jobs:
            self._turns.charge(worker.lent_to, event.busy_ns)
        worker.lent_to = None
        self._roomy.note(worker)
