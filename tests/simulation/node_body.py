"""Plays a node: worker processes with durations and deaths, and the results they leave."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from achilles.core import scheduler_events as server_ev
from achilles.core import slots_events as ev
from achilles.core.slots import Slots
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


class NodeBody:
    """The slots and their workers."""

    def __init__(self, world: World, plan: NodePlan, max_attempts: int) -> None:
        from tests.simulation.world import Link

        self.world = world
        self.plan = plan
        self.brain = Slots(max_attempts)
        self.up = Link(world, plan.latency_ns)
        self.down = Link(world, plan.latency_ns)
        self.workers: dict[int, Worker] = {}
        self.parcels: dict[tuple[int, int, int], Parcel] = {}
        self.kept: dict[int, Results] = {}
        self.state = "away"  # joined, gone
        self.draining = False
        self._serial = 0
        world.at(plan.join_ns, self._join)
        if plan.lost_ns is not None:
            world.at(plan.lost_ns, self._lose)
        if plan.drain_ns is not None:
            world.at(plan.drain_ns, self._drain)
        for at_ns in plan.kills_ns:
            world.at(at_ns, self._kill_any)

    def _join(self) -> None:
        self.state = "joined"
        plan = self.plan
        self.up.post(
            lambda: self.world.server.hear(
                server_ev.NodeJoined(self.world.now_ns, plan.node, plan.cpu_count, plan.python)
            )
        )
        for _ in range(plan.cpu_count):
            self._start_worker()

    def _lose(self) -> None:
        """The machine stops, or the network to it does."""
        if self.state == "joined":
            self.down.cut = True
            if not self.plan.partitioned:
                self.up.cut = True
                self.state = "gone"
            self.world.after(2 * self.plan.latency_ns + 1, self._noticed)

    def _noticed(self) -> None:
        self.world.server.hear(server_ev.NodeLost(self.world.now_ns, self.plan.node))

    def _drain(self) -> None:
        if self.state == "joined":
            self.draining = True
            self.up.post(
                lambda: self.world.server.hear(server_ev.NodeDraining(self.world.now_ns, self.plan.node))
            )
            self._exit_if_drained()

    def _exit_if_drained(self) -> None:
        if self.draining and not self.brain.parcels and self.state == "joined":
            self.state = "gone"
            self.down.cut = True
            self.up.post(self._noticed)

    # What the server says.

    def introduce(self, job: int) -> None:
        """A job's function comes."""
        self._hear(ev.JobIntroduced(self.world.now_ns, job, self.world.jobs[job].reduces))

    def parcel(self, parcel: Parcel) -> None:
        """Work comes."""
        key = (parcel.job, parcel.parcel, parcel.attempt)
        assert key not in self.parcels, "the same attempt came twice"
        self.parcels[key] = parcel
        self._hear(
            ev.ParcelReceived(self.world.now_ns, *key, parcel.first, list(parcel.units), parcel.packet_tasks)
        )

    def forget(self, job: int) -> None:
        """A job is over."""
        self._hear(ev.JobForgotten(self.world.now_ns, job))

    def _hear(self, event: ev.Event) -> None:
        if self.state != "joined":
            return
        self.world.touch(self)
        for command in self.brain.handle(event):
            self._do(command)
        self._exit_if_drained()

    def _do(self, command: ev.Command) -> None:
        match command:
            case ev.TeachJob(worker, job):
                self.workers[worker].jobs.add(job)
            case ev.UnteachJob(worker, job):
                self.workers[worker].jobs.remove(job)
            case ev.RunPiece() | ev.RunReduce():
                self._run(self.workers[command.worker], command)
            case ev.SendResults(key, segments):
                self._send(key, segments)
            case ev.ReportDeath(piece, _, index, _):
                # The command does not say the range; `_send` learns it.
                self.kept[piece] = Results(index, -1, 2, 0, 100, death_of=index)
            case ev.DropParcel(key):
                del self.parcels[key]
            case ev.DropPiece(piece):
                self.kept.pop(piece, None)
            case ev.StopWorker(worker):
                self._kill(self.workers[worker])
            case ev.WakeAt(at_ns):
                self.world.at(at_ns, lambda: self._hear(ev.TimePassed(self.world.now_ns)))

    def _send(self, key: tuple[int, int, int], segments: list[tuple[int, int, int, int, int]]) -> None:
        results = []
        for piece, first, tasks, status, busy_us in segments:
            kept = self.kept[piece]
            if kept.tasks < 0:
                kept.first, kept.tasks = first, tasks
            assert (kept.first, kept.tasks, kept.status) == (first, tasks, status)
            kept.busy_us = busy_us
            results.append(kept)
        event_segments: list[server_ev.Segment] = [
            (part.first, part.tasks, part.status, part.busy_us) for part in results
        ]
        self.up.post(self._results_heard, key, event_segments, results)

    def _results_heard(
        self, key: tuple[int, int, int], segments: list[server_ev.Segment], results: list[Results]
    ) -> None:
        server = self.world.server
        # Late results of a lost node come twice, to make sure that they count for nothing.
        for _ in range(1 if self.plan.node in server.brain.nodes else 2):
            server.hear(server_ev.ResultsArrived(self.world.now_ns, self.plan.node, *key, segments), results)

    # Workers.

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
            result = Results(
                start,
                command.tasks,
                int(bool(failing)),
                0,
                command.tasks * plan.result_bytes,
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
        if piece not in self.brain.pieces:
            self.kept.pop(piece, None)

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
