"""Plays a node: what it says to the server, and what becomes of the results its workers leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from achilles.core import scheduler_events as server_ev
from achilles.core import slots_events as ev
from achilles.core.slots import Slots
from tests.simulation.books import check_turn
from tests.simulation.calls import Parcel
from tests.simulation.connections import Connection, Peer
from tests.simulation.lent_workers import LentWorkers
from tests.simulation.machine import Machine, Worker
from tests.simulation.reading import Results
from tests.simulation.scenario import MS, JobPlan, NodePlan

if TYPE_CHECKING:
    from tests.simulation.world import World

ECHO_SHARE = 0.03
# Workers that hear in time that they are to give something back.
HEARD_SHARE = 0.9


class NodeBody(Machine, Peer):
    """The slots, their workers, and the connection to the server."""

    def __init__(self, world: World, plan: NodePlan, max_attempts: int) -> None:
        Machine.__init__(self, world, plan)
        Peer.__init__(self, world, plan.latency_ns, plan.cuts)
        self.brain = Slots(max_attempts)
        self.draining = False
        self.lent = LentWorkers(self)
        world.at(plan.join_ns, self._start)
        if plan.lost_ns is not None:
            world.at(plan.lost_ns, self._die)
        if plan.drain_ns is not None:
            world.at(plan.drain_ns, self._drain)
        for at_ns in plan.kills_ns:
            world.at(at_ns, self._kill_any)

    def _start(self) -> None:
        self.state = "runs"
        self.dial()
        for _ in range(self.plan.cpu_count):
            self._start_worker()

    def connected(self, connection: Connection) -> None:
        """Join, under a new number."""
        connection.up.post(connection.server.joined, connection)
        self.lent.connected()

    def disconnected(self) -> None:
        """Whoever wanted something is gone."""
        for job in list(self.plans):
            self.forget(job)
        if self.draining:
            self.state = "gone"

    def _die(self) -> None:
        """The machine stops."""
        self.state = "gone"
        self.comes_back = False
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
            self.world.after(2 * self.latency_ns + 1, connection.server.left, connection)

    def _drain(self) -> None:
        if self.state == "runs" and self.connection is not None:
            self.draining = True
            self.comes_back = False
            server, number = self.connection.server, self.connection.number
            self.connection.up.post(lambda: server.hear(server_ev.NodeDraining(self.world.now_ns, number)))
            self.hear(ev.DrainBegan(self.world.now_ns))
            self.world.after(self.plan.grace_ns, self._leave)

    def _leave(self) -> None:
        if self.state == "runs":
            self.state = "gone"
            connection, self.connection = self.connection, None
            if connection is not None:
                connection.down.cut = True
                connection.up.post(connection.server.left, connection)

    # What the server says.

    def introduce(self, job: int, plan: JobPlan) -> None:
        """A job's function comes."""
        assert job not in self.plans, "a job was introduced twice"
        self.plans[job] = plan
        needs = (plan.priority, plan.slots, plan.chunksize)
        introduced = ev.JobIntroduced(self.world.now_ns, job, plan.reduces, plan.limit_ns, *needs)
        introduced.patient, introduced.expected_ns = plan.patient, plan.expected_ns
        self.hear(introduced)

    def parcel(self, job: int, parcel: Parcel) -> None:
        """Work comes."""
        assert self.plans[job] is parcel.plan
        key = (job, parcel.parcel, parcel.attempt)
        assert key not in self.parcels, "the same attempt came twice"
        self.parcels[key] = parcel
        event = ev.ParcelReceived(
            self.world.now_ns, *key, parcel.first, list(parcel.units), parcel.packet_tasks, parcel.size_bytes
        )
        self.hear(event)
        if key in self.parcels and self.world.chance(ECHO_SHARE):
            self.hear(event)

    def ask_back(self, key: tuple[int, int, int]) -> None:
        """An idle node could run a parcel sooner."""
        self.hear(ev.ParcelAskedBack(self.world.now_ns, key))

    def abandon(self, key: tuple[int, int, int]) -> None:
        """Another node was faster."""
        self.hear(ev.ParcelAbandoned(self.world.now_ns, key))

    def cancel_item(self, key: tuple[int, int, int], index: int) -> None:
        """An item is not wanted any more."""
        self.hear(ev.ItemCancelled(self.world.now_ns, key, index))

    def forget(self, job: int) -> None:
        """A job is over."""
        if self.plans.pop(job, None) is not None:
            for _ in range(1 + self.world.chance(ECHO_SHARE)):
                self.hear(ev.JobForgotten(self.world.now_ns, job))

    def hear(self, event: ev.Event) -> None:
        if self.state != "runs":
            return
        self.world.touch(self)
        if isinstance(event, ev.WorkerDied):
            self.lent.lost(event.worker)
        if isinstance(event, ev.WorkerDied) and event.running is None:
            self._count_death_before_begin(event.worker)
        commands = self.brain.handle(event)
        for command in commands:
            self._do(command)
        self._check_order(commands)
        if isinstance(event, ev.PieceFinished) and event.piece not in self.brain.pieces:
            self.kept.pop(event.piece, None)
        if self.draining and not self.brain.parcels:
            self._leave()

    def _count_death_before_begin(self, number: int) -> None:
        """Who dies of a piece before it notes an item is taken to have died of the first."""
        worker = self.brain.workers.get(number)
        if worker is not None and worker.pieces and not worker.stopping:
            piece = worker.pieces[0]
            if piece.key in self.parcels:
                plan = self.parcels[piece.key].plan
                self.world.kills[plan.job, piece.first + piece.skip] += 1

    def _do(self, command: ev.Command) -> None:
        match command:
            case ev.TeachJob(worker, job):
                self.workers[worker].jobs[job] = self.plans[job]
            case ev.UnteachJob(worker, job):
                del self.workers[worker].jobs[job]
            case ev.LendWorker(worker):
                self.lent.lent(worker)
            case ev.RunPiece() | ev.RunReduce():
                assert command.worker not in self.lent, "a worker that is lent got work"
                self._run(self.workers[command.worker], command)
            case ev.HandBack(worker, piece, within):
                assert piece in self.brain.pieces
                if self.world.chance(HEARD_SHARE):
                    self._hand_back(self.workers[worker], piece, within)
            case ev.SendResults(key, segments):
                self._send(key, segments)
            case ev.ReturnParcel(key, given):
                if self.connection is not None:
                    server = self.connection.server
                    self.connection.up.post(server.returned, self.connection, key, given)
            case ev.ReportDeath(piece, _, index, attempts, job):
                plan = self.plans[job]
                deaths = self.world.kills[plan.job, index]
                assert deaths >= attempts == self.brain.max_attempts, f"item {index} is blamed too early"
                # The command does not say the range; `_send` learns it.
                self.kept[piece] = Results(plan, index, -1, 2, 0, 100, death_of=index)
            case ev.ReportTimeout(piece, index, limit_ns):
                assert self.last_died is not None
                plan = self.last_died.queue[0][1]
                assert plan.limit_ns == limit_ns
                self.kept[piece] = Results(plan, index, -1, 2, 0, 100, timeout_of=index)
            case ev.ReportCancelled(piece, index):
                # Nor does this one say whose it is.
                self.kept[piece] = Results(None, index, -1, 2, 0, 100, cancelled_of=index)
            case ev.DropParcel(key):
                del self.parcels[key]
            case ev.KeepPart(piece, of):
                self.kept[piece] = self.kept.pop(of)
            case ev.DropPiece(piece):
                self.kept.pop(piece, None)
            case ev.StopWorker(worker):
                self._stop(self.workers[worker])
            case ev.LookAt(worker):
                self.world.after(0, self._look_at, self.workers[worker])
            case ev.WakeAt(at_ns):
                self.world.at(at_ns, lambda: self.hear(ev.TimePassed(self.world.now_ns)))

    def _check_order(self, commands: list[ev.Command]) -> None:
        """Nobody is served before who has a higher priority, and tasks take no more slots than there are."""
        for command in commands:
            if isinstance(command, ev.RunPiece | ev.RunReduce):
                check_turn(self.brain, self.plans[command.key[0]].priority)
        taken = sum(worker.queue[0][1].slots for worker in self.workers.values() if worker.queue)
        assert taken <= self.plan.cpu_count, f"tasks take {taken} slots of {self.plan.cpu_count}"

    def _stop(self, worker: Worker) -> None:
        if self.brain.workers[worker.number].overdue is not None:
            self._check_limit(worker)
        # It may finish what it runs before the signal comes.
        self.world.after(self.world.rng.choice([0, 0, 2 * MS]), self._kill, worker, False)

    def _send(self, key: tuple[int, int, int], segments: list[tuple[int, int, int, int, int]]) -> None:
        results = []
        for piece, first, tasks, status, busy_us in segments:
            kept = self.kept[piece]
            if kept.tasks < 0:
                kept.first, kept.tasks = first, tasks
                kept.of = kept.of or self.plans[key[0]]
            assert (kept.first, kept.tasks, kept.status) == (first, tasks, status)
            kept.busy_us = busy_us
            results.append(kept)
        event_segments: list[server_ev.Segment] = [
            (part.first, part.tasks, part.status, part.busy_us) for part in results
        ]
        if self.connection is not None:
            server = self.connection.server
            self.connection.up.post(server.results, self.connection, key, event_segments, results)
