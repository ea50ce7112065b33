"""When a piece has run for so long that its worker should give back what it has not begun.

How long a task takes is a guess until it was run, and tasks of one job may differ a thousandfold. So a
unit may be cut too long, or wait behind one that turns out to be long. Nobody tells this brain how far a
worker is: that would cost something for each item. Instead the workers are looked at when one may have run
for too long; and every `PATIENCE_NS` while there are several jobs, or at most every `IDLE_PATIENCE_NS` while
a worker is idle, as what is too long depends on that:

- A worker that has run a piece of several items for too long is asked to stop after the item that it is
  at: its results go on, and the rest is cut anew for whoever is free.
- A slice of a given `chunksize` stays whole for a while. Then its worker is asked again.
- One whose piece takes much longer than was expected when others were put behind it is asked for those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .roomy_workers import RoomyWorkers
from .slots_events import HandBack
from .slots_state import NOBODY, PATIENCE_NS, JobState, Piece, WorkerState

__all__ = ["EXPECTED_PATIENCE_NS", "IDLE_PATIENCE_NS", "MOST_ASKED", "PATIENCE_NS", "LongPieces"]

# How long one runs while a worker has nothing to do: a look is cheap there, and it waits for nothing else.
IDLE_PATIENCE_NS = 2_000_000
# But a piece that should take no longer than this will be over before anybody could have looked.
SOON_OVER_NS = 1_000_000
# In a larger crew nobody asks each worker what it is at, when another has nothing to do.
MOST_ASKED = 16
# As long as a piece may be meant to take, it may run while nobody else wants to; its results wait until then.
EXPECTED_PATIENCE_NS = 60_000_000
# The same where nobody sees results before the last is there; all of it would run again if its worker died.
PATIENT_NS = 500_000_000
# And this long any piece may run there, so that few are looked at.
PATIENT_LOOK_NS = 100_000_000
# How long a slice stays whole that the caller has given the length of.
SLICE_PATIENCE_NS = 200_000_000
# What it takes to send and load a unit again (about a ns a byte) is paid back when it runs for so many times
# as long.
TIMES_LOADING = 16
# How many times longer than expected a piece may take before nothing waits behind it any more.
TIMES_EXPECTED = 2


class LongPieces:
    """Watches workers that have something to give back.

    Args:
        workers: All workers, by number; kept by the slots' brain, as all of these.
        jobs: All jobs.
        roomy: The workers that could take a piece.
        is_pressed: Whether another job wants to run, while a piece of this one does.
    """

    def __init__(
        self,
        workers: Mapping[int, WorkerState],
        jobs: Mapping[int, JobState],
        roomy: RoomyWorkers,
        is_pressed: Callable[[int], bool],
    ) -> None:
        self._workers = workers
        self._jobs = jobs
        self._roomy = roomy
        self._is_pressed = is_pressed
        self._look_at_ns = 0  # 0: nothing to look at

    def worker_idles(self, now_ns: int) -> int | None:
        """A worker has nothing to do. Returns when to look at the others, if that is sooner than it was."""
        soon_ns = now_ns + IDLE_PATIENCE_NS
        if soon_ns < self._look_at_ns and len(self._workers) <= MOST_ASKED:
            asks = (at_ns for worker in self._workers.values() for at_ns, _ in self._asks(worker))
            soon_ns = max(min(asks, default=self._look_at_ns), soon_ns)
        return self._look_by(soon_ns)

    def job_came(self, now_ns: int) -> int | None:
        """The same for a new job, which wants to run as well."""
        return self._look_by(now_ns + PATIENCE_NS)

    def _look_by(self, at_ns: int) -> int | None:
        if self._look_at_ns <= at_ns:
            return None
        self._look_at_ns = at_ns
        return at_ns

    def began(self, worker: WorkerState, now_ns: int) -> int | None:
        """A worker has come to its first piece. Returns when to look, if that is sooner than it was."""
        worker.began_ns = now_ns
        worker.asked_back = worker.asked_within = worker.is_late = False
        return self.watch(worker, now_ns)

    def watch(self, worker: WorkerState, now_ns: int) -> int | None:
        """A worker has got a piece. Returns when to look, if that is sooner than it was."""
        soon_ns = now_ns + PATIENCE_NS
        if 0 < self._look_at_ns <= soon_ns:
            return None
        due_ns = min([at_ns for at_ns, _ in self._asks(worker)], default=0)
        if not due_ns:
            return None
        # With several jobs it may be due sooner by then.
        due_ns = soon_ns if len(self._jobs) > 1 else max(due_ns, soon_ns)
        if 0 < self._look_at_ns <= due_ns:
            return None
        self._look_at_ns = due_ns
        return due_ns

    def overdue(self, now_ns: int) -> tuple[list[HandBack], int | None]:
        """Which pieces are to be given back, and when to look again."""
        if not 0 < self._look_at_ns <= now_ns:
            return [], None
        found: list[HandBack] = []
        looks_ns = []
        for worker in self._workers.values():
            for due_ns, ask in self._asks(worker):
                if due_ns <= now_ns:
                    found += ask(worker)
                else:
                    looks_ns.append(due_ns)
        self._look_at_ns = min(looks_ns, default=0)
        if self._roomy.idle > 0:
            self.worker_idles(now_ns)
        elif len(self._jobs) > 1:
            self.job_came(now_ns)
        return found, self._look_at_ns or None

    def _asks(self, worker: WorkerState) -> Iterator[tuple[int, Callable[[WorkerState], list[HandBack]]]]:
        """What a worker is to be asked for, and when."""
        if not worker.pieces or worker.stopping or worker.pieces[0].key == NOBODY:
            return  # or it is stopped soon
        runs = worker.pieces[0]
        began_ns = worker.began_ns + runs.loading_ns * TIMES_LOADING
        if len(worker.pieces) > 1 and not worker.is_late:
            late_ns = int(TIMES_EXPECTED * runs.work_ns)
            yield began_ns + self._least_ns(runs) + late_ns, self._ask_for_what_waits
        if runs.divisible and not worker.asked_back:
            yield began_ns + self._patience_ns(runs), _ask_for_the_rest
        if runs.has_slices and not worker.asked_within:
            yield began_ns + max(self._patience_ns(runs), SLICE_PATIENCE_NS), _ask_within_a_slice

    def _ask_for_what_waits(self, worker: WorkerState) -> list[HandBack]:
        worker.is_late = True
        self._roomy.note(worker)
        return [HandBack(worker.worker, piece.piece) for piece in _behind(worker)]

    def _patience_ns(self, piece: Piece) -> int:
        """How long a piece may run."""
        if self._roomy.idle > 0:
            return IDLE_PATIENCE_NS if piece.work_ns > SOON_OVER_NS else PATIENCE_NS
        job = self._jobs[piece.key[0]]
        if self._is_pressed(job.job):
            return PATIENCE_NS
        if job.task_ns is None:
            return max(PATIENCE_NS, piece.patience_ns)
        least_ns, most_ns = (
            (PATIENT_LOOK_NS, PATIENT_NS) if job.patient else (PATIENCE_NS, EXPECTED_PATIENCE_NS)
        )
        return max(least_ns, piece.patience_ns, int(min(TIMES_EXPECTED * piece.work_ns, most_ns)))

    def _least_ns(self, piece: Piece) -> int:
        """How long one may run beyond what was expected before nothing waits behind it any more."""
        job = self._jobs[piece.key[0]]
        if not job.patient or job.task_ns is None or self._roomy.idle > 0 or self._is_pressed(job.job):
            return PATIENCE_NS
        return PATIENT_LOOK_NS


def _ask_for_the_rest(worker: WorkerState) -> list[HandBack]:
    worker.asked_back = True
    return [HandBack(worker.worker, worker.pieces[0].piece)]


def _ask_within_a_slice(worker: WorkerState) -> list[HandBack]:
    worker.asked_back = worker.asked_within = True
    return [HandBack(worker.worker, worker.pieces[0].piece, within=True)]


def _behind(worker: WorkerState) -> Iterator[Piece]:
    """What waits at a worker and could run elsewhere; the last first, so that it stays in order."""
    for position in range(len(worker.pieces) - 1, 0, -1):
        piece = worker.pieces[position]
        if piece.parts is None and piece.tasks and piece.key != NOBODY:
            yield piece
