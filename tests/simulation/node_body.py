"""Plays a node: worker processes with durations and deaths, and the results they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from achilles.core import scheduler_events as server_ev
from achilles.core import slots_events as ev
from achilles.core.slots import Slots
from tests.simulation.calls import Parcel
from tests.simulation.machine import Machine
from tests.simulation.reading import Results
from tests.simulation.scenario import NodePlan

if TYPE_CHECKING:
    from tests.simulation.world import World


class NodeBody(Machine):
    """The slots and their workers."""

    def __init__(self, world: World, plan: NodePlan, max_attempts: int) -> None:
        from tests.simulation.world import Link

        super().__init__(world, plan)
        self.brain = Slots(max_attempts)
        self.up = Link(world, plan.latency_ns)
        self.down = Link(world, plan.latency_ns)
        self.draining = False
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
        if isinstance(event, ev.PieceFinished) and event.piece not in self.brain.pieces:
            self.kept.pop(event.piece, None)
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
