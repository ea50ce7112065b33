"""The worker processes of a simulated node: how long they take, and how they die."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from achilles.core import slots_events as ev
from tests.simulation.calls import Parcel
from tests.simulation.reading import Results
from tests.simulation.scenario import NodePlan

if TYPE_CHECKING:
    from tests.simulation.world import World

PIPE_NS = 20_000
START_NS = 2_000_000


class Worker:
    """One process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: deque[ev.RunPiece | ev.RunReduce] = deque()
        self.jobs: set[int] = set()
        self.alive = True
        self.run = 0  # counts starts, so that a timer of an ended one is told apart
        self.started_ns = 0
        self.duration_ns = 0.0


class Machine:
    """Processes that run pieces, and what they leave at the node."""

    def __init__(self, world: World, plan: NodePlan) -> None:
        self.world = world
        self.plan = plan
        self.workers: dict[int, Worker] = {}
        self.parcels: dict[tuple[int, int, int], Parcel] = {}
        self.kept: dict[int, Results] = {}
        self.state = "away"  # joined, gone
        self._serial = 0

    def _hear(self, event: ev.Event) -> None:
        """Tell the brain (the node does)."""
        raise NotImplementedError

    def _start_worker(self) -> None:
        self._serial += 1
        number = self._serial
        self.world.after(START_NS * self.world.rng.random(), self._started, number)

    def _started(self, number: int) -> None:
        if self.state == "joined":
            self.workers[number] = Worker(number)
            self._hear(ev.WorkerStarted(self.world.now_ns, number))

    def _run(self, worker: Worker, command: ev.RunPiece | ev.RunReduce) -> None:
        job = command.key[0]
        assert job in worker.jobs, "a worker got work of a job it does not know"
        if isinstance(command, ev.RunPiece):
            parcel = self.parcels[command.key]
            assert command.skip + command.tasks <= parcel.units[command.unit]
            assert command.first == parcel.first + sum(parcel.units[: command.unit])
        else:
            at = command.first
            for part in command.parts:
                assert self.kept[part].first == at and self.kept[part].status < 2
                at += self.kept[part].tasks
            assert at == command.first + command.tasks
            offset, length = (
                command.first - self.parcels[command.key].first,
                self.parcels[command.key].packet_tasks,
            )
            assert offset % length == 0 and command.tasks <= length
        worker.queue.append(command)
        if len(worker.queue) == 1:
            self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        command = worker.queue[0]
        plan = self.world.jobs[command.key[0]]
        worker.run += 1
        worker.started_ns = self.world.now_ns
        worker.duration_ns = 20_000.0
        doomed: int | None = None
        if isinstance(command, ev.RunPiece):
            factor = self.world.rng.lognormvariate(0.0, plan.spread) if plan.spread else 1.0
            worker.duration_ns += command.tasks * plan.task_ns * self.plan.slowness * factor
            start, end = command.first + command.skip, command.first + command.skip + command.tasks
            if any(start <= index < end for index in plan.hangs):
                worker.duration_ns = float("inf")
                return
            doomed = min((index for index in plan.killers if start <= index < end), default=None)
            if doomed is not None:
                share = (doomed - start) / command.tasks
                self.world.after(worker.duration_ns * share, self._doomed, worker, worker.run, doomed)
                return
        self.world.after(worker.duration_ns, self._finished, worker, worker.run)

    def _doomed(self, worker: Worker, run: int, index: int) -> None:
        if worker.alive and worker.run == run:
            self._kill(worker, index)

    def _finished(self, worker: Worker, run: int) -> None:
        if not worker.alive or worker.run != run:
            return
        command = worker.queue.popleft()
        plan = self.world.jobs[command.key[0]]
        busy_ns = int(worker.duration_ns)
        if isinstance(command, ev.RunReduce):
            result = Results(command.first, command.tasks, 0, 0, plan.result_bytes, reduced=True)
        else:
            start = command.first + command.skip
            failing = plan.failing and any(
                index % plan.failing == 0 for index in range(start, start + command.tasks)
            )
            # A worker that reduces leaves one value for each packet.
            values = -(-command.tasks // command.packet_tasks) if command.packet_tasks else command.tasks
            result = Results(
                start,
                command.tasks,
                int(bool(failing)),
                0,
                values * plan.result_bytes,
                reduced=bool(command.packet_tasks),
            )
        self.world.after(PIPE_NS, self._hear_finished, worker.number, command.piece, result, busy_ns)
        worker.run += 1
        if worker.queue:
            self._begin(worker)

    def _hear_finished(self, worker: int, piece: int, result: Results, busy_ns: int) -> None:
        self.kept[piece] = result
        self._hear(
            ev.PieceFinished(self.world.now_ns, worker, piece, result.status, busy_ns, result.size_bytes)
        )

    def _kill_any(self) -> None:
        alive = [worker for worker in self.workers.values() if worker.alive]
        if self.state == "joined" and alive:
            self._kill(self.world.rng.choice(alive))

    def _kill(self, worker: Worker, running: int | None = None) -> None:
        if not worker.alive:
            return
        worker.alive = False
        if running is None and worker.queue and isinstance(worker.queue[0], ev.RunPiece):
            command = worker.queue[0]
            share = (self.world.now_ns - worker.started_ns) / max(worker.duration_ns, 1.0)
            running = command.first + command.skip + int(min(share, 0.999) * command.tasks)
        self.world.after(PIPE_NS, self._died, worker, running)

    def _died(self, worker: Worker, running: int | None) -> None:
        self.workers.pop(worker.number, None)
        self._hear(ev.WorkerDied(self.world.now_ns, worker.number, running))
        if self.state == "joined":
            self._start_worker()
