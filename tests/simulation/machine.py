"""The worker processes of a simulated node: how long they take, and how they die."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from achilles.core import slots_events as ev
from tests.simulation.calls import Parcel
from tests.simulation.reading import Results
from tests.simulation.scenario import MS, JobPlan, NodePlan

if TYPE_CHECKING:
    from tests.simulation.world import World

PIPE_NS = 20_000
GULP_NS = 200_000
START_NS = 2_000_000
# Workers that are at an item much longer than the others when they are asked for the rest.
STALL_SHARE = 0.5
# How long after it was asked for the rest a worker at a long item answers for those before.
EARLY_NS = 20_000_000
OVERHEAD_NS = 20_000.0


class Worker:
    """One process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: deque[tuple[ev.RunPiece | ev.RunReduce, JobPlan]] = deque()
        self.jobs: dict[int, JobPlan] = {}
        self.alive = True
        self.run = 0  # counts starts, so that a timer of an ended one is told apart
        self.started_ns = 0
        self.item_ns = 0.0
        self.stuck_at: int | None = None  # the item without end that it runs, or will
        self.stall_ns = 0.0  # how much longer than the others its last item takes
        self.done: int | None = None  # so many items are run, and the others given back
        self.noted = False  # whether it is known exactly which item it is at
        self.ran = 0  # items of jobs after some of which it leaves
        self.leaves = False  # whether it will after these items

    def running(self, now_ns: int) -> tuple[int, int, int] | None:
        """The job, the item that it is at, and when it began that (0: not known)."""
        if not self.queue:
            return None
        command, _ = self.queue[0]
        if isinstance(command, ev.RunReduce) or not command.tasks:
            return command.key[0], command.first, 0
        start = command.first + command.skip
        at = start + int(max(now_ns - self.started_ns - OVERHEAD_NS, 0.0) / max(self.item_ns, 1.0))
        last = start + (command.tasks if self.done is None else self.done) - 1
        at = min(at, last if self.stuck_at is None else self.stuck_at)
        return command.key[0], at, int(self.started_ns + OVERHEAD_NS + (at - start) * self.item_ns)


class Machine:
    """Processes that run pieces, and what they leave at the node."""

    def __init__(self, world: World, plan: NodePlan) -> None:
        self.world = world
        self.plan = plan
        self.plans: dict[int, JobPlan] = {}  # the server's number of a job -> what it is
        self.workers: dict[int, Worker] = {}
        self.last_died: Worker | None = None
        self.parcels: dict[tuple[int, int, int], Parcel] = {}
        self.kept: dict[int, Results] = {}
        self.state = "away"  # then: runs, gone
        self._serial = 0

    def hear(self, event: ev.Event) -> None:
        """Tell the brain (the node does)."""
        raise NotImplementedError

    def _start_worker(self) -> None:
        self._serial += 1
        number = self._serial
        self.world.after(START_NS * self.world.rng.random(), self._started, number)

    def _started(self, number: int) -> None:
        if self.state == "runs":
            self.workers[number] = Worker(number)
            self.hear(ev.WorkerStarted(self.world.now_ns, number))

    def _run(self, worker: Worker, command: ev.RunPiece | ev.RunReduce) -> None:
        parcel = self.parcels[command.key]
        plan = worker.jobs[command.key[0]]
        assert plan is parcel.plan, "a worker got work of a job that it does not know"
        if isinstance(command, ev.RunPiece):
            assert command.skip + command.tasks <= parcel.units[command.unit]
            assert command.first == parcel.first + sum(parcel.units[: command.unit])
        else:
            at = command.first
            for part in command.parts:
                assert self.kept[part].first == at and self.kept[part].status < 2
                at += self.kept[part].tasks
            assert at == command.first + command.tasks
            offset, length = command.first - parcel.first, parcel.packet_tasks
            assert offset % length == 0 and command.tasks <= length
        if not worker.alive:
            return  # it leaves, which is not known yet
        worker.queue.append((command, plan))
        if len(worker.queue) == 1:
            self._begin(worker)

    def _begin(self, worker: Worker) -> None:
        command, plan = worker.queue[0]
        worker.run += 1
        worker.started_ns = self.world.now_ns
        worker.item_ns = worker.stall_ns = 0.0
        worker.stuck_at = worker.done = None
        worker.noted = worker.leaves = False
        if isinstance(command, ev.RunPiece):
            factor = self.world.rng.lognormvariate(0.0, plan.spread) if plan.spread else 1.0
            worker.item_ns = plan.task_ns * self.plan.slowness * factor
            start, end = command.first + command.skip, command.first + command.skip + command.tasks
            if plan.leave_every and end > start:
                leaves_at = start + max(plan.leave_every - worker.ran, 1)
                leaves_at += -(leaves_at - start) % (max(command.packet_tasks, 1) if plan.reduces else 1)
                worker.leaves = leaves_at <= end
                if leaves_at < end:
                    worker.done = leaves_at - start
                    end = leaves_at
            last = min((index for index in plan.killers | plan.hangs if start <= index < end), default=None)
            if last is not None:
                worker.stuck_at = last
                if last in plan.killers:
                    doomed_ns = OVERHEAD_NS + (last - start + 0.5) * worker.item_ns
                    self.world.after(doomed_ns, self._doomed, worker, worker.run)
                return
        self.world.after(self._duration_ns(worker), self._finished, worker, worker.run)

    def _duration_ns(self, worker: Worker) -> float:
        tasks = worker.queue[0][0].tasks if worker.done is None else worker.done
        return OVERHEAD_NS + tasks * worker.item_ns + worker.stall_ns

    def _hand_back(self, worker: Worker, piece: int, within: bool) -> None:
        """Stop a piece after the item that runs, or the slice unless ``within`` it; drop one that waits."""
        running = worker.running(self.world.now_ns)
        if running is None:
            return
        command = worker.queue[0][0]
        if command.piece != piece:
            for waits in [entry for entry in worker.queue if entry[0].piece == piece]:
                worker.queue.remove(waits)
                self.world.after(PIPE_NS, self._hear_unbegun, worker.number, piece)
            return
        if worker.done is not None and not worker.leaves and not within:
            return
        assert isinstance(command, ev.RunPiece)
        step = 1 if within else max(command.packet_tasks, 1)
        start = command.first + command.skip
        done = running[1] + 1 - start
        worker.noted = done % step == 0
        done += -done % step
        if done >= (worker.done or command.tasks):
            return
        if worker.stuck_at is not None and worker.stuck_at < start + done:
            return
        worker.leaves = False
        worker.done = done
        worker.stuck_at = None
        self.world.after(PIPE_NS, self._hear_cut, worker.number, piece, done)
        worker.run += 1
        if not worker.queue[0][1].limit_ns and self.world.chance(STALL_SHARE):
            worker.stall_ns = self.world.rng.choice([10, 100, 1000]) * MS
        left_ns = worker.started_ns + self._duration_ns(worker) - self.world.now_ns
        self.world.after(max(left_ns, 0.0), self._finished, worker, worker.run)
        self.world.after(EARLY_NS, self._answer_early, worker, worker.run)

    def _answer_early(self, worker: Worker, run: int) -> None:
        running = worker.running(self.world.now_ns)
        if not worker.alive or worker.run != run or running is None:
            return
        command, plan = worker.queue[0]
        assert isinstance(command, ev.RunPiece) and worker.done is not None
        start = command.first + command.skip
        tasks = running[1] - start
        tasks -= tasks % max(command.packet_tasks, 1)
        if tasks <= 0 or (plan.reduces and command.packet_tasks):
            return
        failing = plan.failing and any(index % plan.failing == 0 for index in range(start, start + tasks))
        result = Results(plan, start, tasks, int(bool(failing)), 0, tasks * plan.result_bytes)
        worker.queue[0] = command.replaced(skip=command.skip + tasks, tasks=command.tasks - tasks), plan
        worker.started_ns += int(tasks * worker.item_ns)
        worker.done -= tasks
        self.world.early += 1
        self.world.after(PIPE_NS, self._hear_early, worker.number, command.piece, result)

    def _doomed(self, worker: Worker, run: int) -> None:
        if worker.run == run:
            self._kill(worker)

    def _finished(self, worker: Worker, run: int) -> None:
        if not worker.alive or worker.run != run:
            return
        busy_ns = int(self._duration_ns(worker))
        command, plan = worker.queue.popleft()
        tasks = command.tasks if worker.done is None else worker.done
        if isinstance(command, ev.RunReduce):
            result = Results(plan, command.first, command.tasks, 0, 0, plan.result_bytes, reduced=True)
        else:
            start = command.first + command.skip
            failing = plan.failing and any(index % plan.failing == 0 for index in range(start, start + tasks))
            # A worker that reduces leaves one value for each packet.
            reduced = plan.reduces and bool(command.packet_tasks)
            values = -(-tasks // command.packet_tasks) if reduced else tasks
            size_bytes = values * plan.result_bytes
            result = Results(plan, start, tasks, int(bool(failing)), 0, size_bytes, reduced=reduced)
        worker.run += 1
        worker.ran += tasks if plan.leave_every else 0
        answer = (worker.number, command.piece, result, busy_ns, tasks)
        if worker.leaves:
            worker.alive = False
            worker.queue.clear()
            self.world.after(PIPE_NS, self._hear_last, *answer)
            self.world.after(PIPE_NS + self.world.rng.randrange(20 * MS), self._died, worker, None)
            return
        self.world.after(PIPE_NS, self._hear_finished, *answer)
        if worker.queue:
            self._begin(worker)

    def _hear_finished(self, worker: int, piece: int, result: Results, busy_ns: int, tasks: int) -> None:
        self.kept[piece] = result
        answer = (worker, piece, result.status, busy_ns, result.size_bytes, tasks)
        self.hear(ev.PieceFinished(self.world.now_ns, *answer))

    def _hear_early(self, worker: int, piece: int, result: Results) -> None:
        self.kept[piece] = result
        answer = (worker, piece, result.status, MS, result.size_bytes, result.tasks)
        self.hear(ev.PartFinished(self.world.now_ns, *answer))

    def _hear_last(self, worker: int, *answer: Any) -> None:
        self.hear(ev.WorkerLeaving(self.world.now_ns, worker))
        self._hear_finished(worker, *answer)

    def _hear_cut(self, worker: int, piece: int, tasks: int) -> None:
        self.hear(ev.PieceCut(self.world.now_ns, worker, piece, tasks))

    def _hear_unbegun(self, worker: int, piece: int) -> None:
        self.hear(ev.PieceFinished(self.world.now_ns, worker, piece, 0, 0, 0, 0))

    def _kill_any(self) -> None:
        alive = [worker for worker in self.workers.values() if worker.alive]
        if self.state == "runs" and alive:
            self._kill(self.world.rng.choice(alive))

    def _kill(self, worker: Worker, charged: bool = True) -> None:
        if not worker.alive:
            return
        worker.alive = False
        running = worker.running(self.world.now_ns)
        if charged and running is not None:
            self.world.kills[worker.queue[0][1].job, running[1]] += 1
        self.world.after(PIPE_NS, self._died, worker, None if running is None else running[1])

    def _died(self, worker: Worker, running: int | None) -> None:
        self.workers.pop(worker.number, None)
        self.last_died = worker
        exact = True
        if worker.queue and isinstance(command := worker.queue[0][0], ev.RunPiece):
            # Whoever runs short items notes only some of them.
            notes_each = command.singly or worker.queue[0][1].limit_ns or worker.item_ns > GULP_NS
            exact = bool(notes_each) or self.world.chance(0.2)
        self.hear(ev.WorkerDied(self.world.now_ns, worker.number, running, exact))
        if self.state == "runs":
            self._start_worker()

    def _look_at(self, worker: Worker) -> None:
        """Read what the worker notes of its item in shared memory."""
        running = worker.running(self.world.now_ns)
        job, index, since_ns = (0, None, 0) if running is None else running
        exact = True
        if worker.queue and isinstance(command := worker.queue[0][0], ev.RunPiece) and index is not None:
            notes_each = command.singly or worker.queue[0][1].limit_ns or worker.item_ns > GULP_NS
            exact = bool(notes_each) or worker.noted or self.world.chance(0.2)
            if not exact:
                index -= self.world.rng.randrange(min(index - command.first - command.skip, 1023) + 1)
                since_ns = 0
        self.hear(ev.WorkerSeen(self.world.now_ns, worker.number, job, index, since_ns, exact))

    def _check_limit(self, worker: Worker) -> None:
        """A worker that is stopped for its item's time was found in time."""
        running = worker.running(self.world.now_ns)
        assert running is not None
        limit_ns = worker.queue[0][1].limit_ns
        ran_ns = self.world.now_ns - running[2]
        assert limit_ns <= ran_ns <= 2 * limit_ns + MS, f"an item ran {ran_ns} ns of {limit_ns}"
