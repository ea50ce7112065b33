"""Slots that are driven by hand: what workers run, who is asked to give back what, when a look is due."""

from __future__ import annotations

from typing import Any

from achilles.core import slots_events as ev
from achilles.core.slots import Slots

MS = 1_000_000


class Drive:
    """Slots whose workers run one job."""

    def __init__(self, workers: int = 2, *, reduces: bool = False) -> None:
        self.brain = Slots()
        self.now_ns = 0
        self.runs: dict[int, Any] = {}
        self.behind: dict[int, list[Any]] = {}  # what waits at workers
        self.within: list[bool] = []  # whether who was asked may cut a slice
        self.asked_behind: list[int] = []  # pieces of these that are to be given back
        self.sent: list[tuple[int, int]] = []
        self.wake_ns: list[int] = []
        self.wakes = 0  # how often one was asked for
        for worker in range(workers):
            self.hear(ev.WorkerStarted, worker)
        self.hear(ev.JobIntroduced, 1, reduces)

    def hear(self, kind: Any, *fields: Any) -> list[Any]:
        commands = self.brain.handle(kind(self.now_ns, *fields))
        for command in commands:
            if isinstance(command, ev.RunPiece):
                if command.worker in self.runs:
                    self.behind.setdefault(command.worker, []).append(command)
                else:
                    self.runs[command.worker] = command
            elif isinstance(command, ev.SendResults):
                self.sent += [segment[1:3] for segment in command.segments]
            elif isinstance(command, ev.WakeAt):
                self.wake_ns.append(command.at_ns)
                self.wakes += 1
        return commands

    def parcel(
        self, units: list[int], packet_tasks: int = 1, *, job: int = 1, parcel: int = 0, size_bytes: int = 0
    ) -> list[Any]:
        return self.hear(ev.ParcelReceived, job, parcel, 1, 0, units, packet_tasks, size_bytes)

    def asked(self, to_ns: int) -> list[int]:
        """The workers that are asked to give back the rest of what they run until then."""
        found = []
        while self.wake_ns and min(self.wake_ns) <= to_ns:
            self.now_ns = min(self.wake_ns)
            self.wake_ns = [at_ns for at_ns in self.wake_ns if at_ns > self.now_ns]
            for command in self.hear(ev.TimePassed):
                if isinstance(command, ev.HandBack):
                    self.within.append(command.within)
                    if command.piece == self.runs[command.worker].piece:
                        found.append(command.worker)
                    else:
                        self.asked_behind.append(command.piece)
        self.now_ns = to_ns
        return found

    def finish(self, worker: int, done: int | None = None, busy_ns: int = 500 * MS) -> list[Any]:
        piece = self.runs.pop(worker)
        if self.behind.get(worker):
            self.runs[worker] = self.behind[worker].pop(0)
        return self.hear(ev.PieceFinished, worker, piece.piece, 0, busy_ns, 10, done)

    def promise(self, worker: int, tasks: int) -> list[Any]:
        """The worker says that it will run so many items of what it runs."""
        return self.hear(ev.PieceCut, worker, self.runs[worker].piece, tasks)

    def answer_early(self, worker: int, tasks: int) -> list[Any]:
        """The worker answers for the first items of what it runs."""
        piece = self.runs[worker]
        self.runs[worker] = piece.replaced(skip=piece.skip + tasks, tasks=piece.tasks - tasks)
        return self.hear(ev.PartFinished, worker, piece.piece, 0, MS, 10, tasks)

    def ranges(self) -> dict[int, tuple[int, int]]:
        return {worker: (run.first + run.skip, run.tasks) for worker, run in self.runs.items()}
