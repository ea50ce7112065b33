"""Which waiting piece goes to which worker next.

A piece whose tasks take several slots runs at one worker and keeps as many others idle. When it is due and
there are too few, nothing else is begun until there are enough. If none of its job runs, that holds even
when others become due meanwhile: so it waits for what runs, and not for ever. Only what has a higher
priority comes before it then; and others get the slots that its tasks would leave over, were there no others.
"""

from __future__ import annotations

from collections.abc import Mapping

from .levels import Levels
from .roomy_workers import RoomyWorkers
from .slots_state import JobState, WorkerState

__all__ = ["Placement"]


class Placement:
    """Matches jobs that are due with workers that have room.

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
        self._wide_jobs = 0  # whose tasks take several slots
        self._gathers: int | None = None  # the one that waits for enough idle workers

    def job_came(self, job: JobState) -> None:
        """There is a job more."""
        self._turns.add(job.job, priority=job.priority)
        self._wide_jobs += job.slots > 1

    def job_gone(self, job: JobState) -> None:
        """There is a job less."""
        self._turns.remove(job.job)
        self._wide_jobs -= job.slots > 1
        if self._gathers == job.job:
            self._gathers = None

    def judge_anew(self, job: JobState) -> None:
        """Now that a job's tasks were measured, see what its pieces at workers are worth."""
        for number in sorted(job.workers):
            worker = self._workers[number]
            self._turns.charge(job.job, worker.judge_anew(job) * job.slots)
            self._roomy.note(worker)

    def next(self) -> tuple[JobState, WorkerState] | None:
        """A job whose first waiting piece goes to a worker now, and that worker."""
        number = self._next_wide() if self._wide_jobs else self._turns.first()
        if number is None:
            return None
        job = self._jobs[number]
        worker = self._roomy.first_for(job.is_short(job.waiting[0]), job.slots)
        if worker is not None or job.slots == 1:
            self._gathers = None if number == self._gathers else self._gathers
            return None if worker is None else (job, worker)
        tasks = self._tasks_running(job)
        self._gathers = None if tasks else number
        return self._next_beside(job, tasks)

    def _next_beside(self, wide: JobState, tasks: int) -> tuple[JobState, WorkerState] | None:
        """What can begin while a job waits for slots, of whose tasks so many run, without delaying it."""
        left = min(self._roomy.idle, self._left_by(wide, tasks))
        if left <= 0:
            return None
        number = self._turns.first_that(lambda key: self._fits_beside(self._jobs[key], left))
        worker = None if number is None else self._roomy.first_for(False, self._jobs[number].slots)
        return None if number is None or worker is None else (self._jobs[number], worker)

    def _left_by(self, wide: JobState, tasks: int) -> int:
        """How many idle slots tasks of a job do not need, of which so many run."""
        others = len(self._workers) - self._roomy.idle - tasks * wide.slots
        return len(self._workers) % wide.slots - others

    def _fits_beside(self, job: JobState, left: int) -> bool:
        """Whether a job can do with so many slots, and delays none that should come before it."""
        if job.slots > left:
            return False
        above = (self._jobs[number] for number in self._turns)
        return all(
            job.slots <= self._left_by(other, self._tasks_running(other))
            for other in above
            if other.priority > job.priority and self._fits(other.job)
        )

    def _next_wide(self) -> int | None:
        """The job that is due, where tasks may take several slots."""
        # While workers are being replaced there may be too few for some; the others go on.
        number = self._turns.first_that(self._fits)
        gathers = self._gathers
        if number is None or gathers is None or gathers not in self._turns or not self._fits(gathers):
            return number
        return gathers if self._jobs[gathers].priority >= self._jobs[number].priority else number

    def _tasks_running(self, job: JobState) -> int:
        """How many workers run something of a job whose tasks take several slots."""
        return sum(self._workers[number].pieces[0].key[0] == job.job for number in self._roomy.holders)

    def _fits(self, number: int) -> bool:
        return self._jobs[number].slots <= len(self._workers)

    def is_pressed(self, number: int) -> bool:
        """Whether a piece of another job waits that need not wait for this one."""
        waiting = self._turns.active_from(self._jobs[number].priority)
        return waiting > (number in self._turns)
