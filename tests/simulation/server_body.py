"""Plays one life of the server: passes messages between its brain, the nodes and the controllers.

Peers and jobs are numbered from the beginning in every life, so that what survives at a node from the
life before meets the same numbers again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler
from tests.simulation.calls import Call, Parcel
from tests.simulation.connections import Connection
from tests.simulation.node_body import NodeBody
from tests.simulation.reading import Results
from tests.simulation.scenario import NodePlan

if TYPE_CHECKING:
    from tests.simulation.world import World

ECHO_SHARE = 0.03


@dataclass
class Wanting:
    """How long a job has wanted room, and how often others got some that it could have had."""

    since_ns: int
    passed: int = 0


class ServerBody:
    """The scheduler and its connections."""

    def __init__(self, world: World, max_attempts: int) -> None:
        self.world = world
        self.brain = Scheduler(max_attempts)
        self.alive = True
        self.connections: dict[int, Connection] = {}
        self.calls: dict[int, tuple[Call, Connection]] = {}  # by the server's number of the job
        self.numbers: dict[tuple[int, int], int] = {}  # (connection, the controller's number) -> ours
        # (job, parcel) -> attempts sent to a node and not given back -> that node
        self.sent: dict[tuple[int, int], dict[int, int]] = {}
        self.wanting: dict[int, Wanting] = {}  # jobs that want room and have not been served since
        self._sent_ns: dict[tuple[int, int, int], int] = {}
        self.longest_stay_ns = 0  # of a parcel at a node, until its first result
        self._accepted: list[Connection] = []
        self._job_numbers = itertools.count(1)

    def accept(self, connection: Connection) -> int:
        """Give a connection a number that no other of this life has."""
        self._accepted.append(connection)
        return len(self._accepted) - 1

    def die(self) -> None:
        """The process ends; everybody sees it in their own time."""
        self.alive = False
        for connection in self._accepted:
            connection.close()
            peer = connection.peer
            self.world.after(peer.latency_ns * (1.0 + self.world.rng.random()), peer.lose, connection)

    # What peers say.

    def joined(self, connection: Connection) -> None:
        """A node proved its right."""
        assert isinstance(connection.peer, NodeBody)
        if connection.over:
            return
        plan = connection.peer.plan
        self.connections[connection.number] = connection
        joined = ev.NodeJoined(self.world.now_ns, connection.number, plan.cpu_count, plan.python)
        joined.names, joined.shares_slots = plan.names, plan.shares_slots
        self.hear(joined)

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        connection.over = True
        if self.connections.pop(connection.number, None) is None:
            return
        if isinstance(connection.peer, NodeBody):
            self.hear(ev.NodeLost(self.world.now_ns, connection.number))
            return
        for (number, _), job in list(self.numbers.items()):
            if number == connection.number:
                self.hear(ev.JobCancelled(self.world.now_ns, job))

    def welcomed(self, connection: Connection) -> None:
        """A controller proved its right."""
        if not connection.over:
            self.connections[connection.number] = connection

    def submitted(self, connection: Connection, call: Call, promised: tuple[int, ...] = ()) -> None:
        """A controller announced a job, perhaps one that an earlier life knew."""
        if connection.number not in self.connections:
            return
        plan = call.plan
        number = next(self._job_numbers)
        self.calls[number] = (call, connection)
        self.numbers[connection.number, plan.job] = number
        self.hear(
            ev.JobSubmitted(
                self.world.now_ns,
                number,
                connection.number,
                plan.chunksize,
                plan.python,
                plan.weight,
                speculate=plan.speculate,
                tasks=plan.tasks or 0 if plan.says_tasks else 0,
                priority=plan.priority,
                nodes=plan.nodes,
                slots=plan.slots,
                promised=promised,
                expected_ns=plan.expected_ns if promised else None,
            )
        )

    def parcel_arrived(self, connection: Connection, parcel: Parcel) -> None:
        """Work came in."""
        job = self.numbers.get((connection.number, parcel.plan.job))
        if job is not None:
            event = ev.ParcelArrived(
                self.world.now_ns,
                job,
                parcel.parcel,
                parcel.node,
                parcel.tasks,
                parcel.size_bytes,
                parcel.attempt,
                parcel.first,
            )
            self.hear(event, parcel)
            if self.world.chance(ECHO_SHARE):
                self.hear(event, parcel)

    def input_ended(self, connection: Connection, job: int) -> None:
        """No more parcels will come."""
        number = self.numbers.get((connection.number, job))
        if number is not None:
            self.hear(ev.InputEnded(self.world.now_ns, number))

    def cancelled(self, connection: Connection, job: int) -> None:
        """Nobody wants the job any more."""
        number = self.numbers.get((connection.number, job))
        if number is not None:
            self.hear(ev.JobCancelled(self.world.now_ns, number))

    def item_cancelled(self, connection: Connection, job: int, parcel: int, attempt: int, index: int) -> None:
        """Nobody wants an item any more."""
        number = self.numbers.get((connection.number, job))
        if number is not None:
            self.hear(ev.ItemCancelled(self.world.now_ns, number, parcel, attempt, index))

    # What the brain decides.

    def hear(self, event: ev.Event, carried: Any = None) -> None:
        """Hand an event to the brain and carry out its commands."""
        if not self.alive:
            return
        self.world.touch(event)
        if isinstance(event, ev.ParcelReturned) and event.given and event.node in self.brain.nodes:
            self.sent.get((event.job, event.parcel), {}).pop(event.attempt, None)
        for command in self.brain.handle(event):
            self._do(command, carried)
        if isinstance(event, ev.ResultsArrived):
            sent_ns = self._sent_ns.pop((event.job, event.parcel, event.attempt), self.world.now_ns)
            self.longest_stay_ns = max(self.longest_stay_ns, self.world.now_ns - sent_ns)
        if len(self.calls) > len(self.brain.jobs):
            for job in self.calls.keys() - self.brain.jobs.keys():
                call, connection = self.calls.pop(job)
                del self.numbers[connection.number, call.plan.job]
        for job in [job for job in self.wanting if job not in self.brain._due]:
            del self.wanting[job]
        for job in self.brain._due:
            if job not in self.wanting:
                self.wanting[job] = Wanting(self.world.now_ns)

    def _do(self, command: ev.Command, carried: Any) -> None:
        world = self.world
        match command:
            case ev.WakeAt(at_ns):
                world.at(at_ns, self._wake)
            case ev.Demand(_, job, node, cpu_count, packets):
                assert packets >= 1
                assert cpu_count == self.plan_of(node).cpu_count // self.calls[job][0].plan.slots
                self._served(job, node)
                self._tell_controller(job, "granted", node, cpu_count, packets)
            case ev.Resend(_, job, parcel, attempt, node, beside, redraw):
                if redraw:
                    self.sent.pop((job, parcel), None)
                elif not beside:
                    self._served(job, node)
                self._tell_controller(job, "resend", parcel, attempt, node, beside, redraw)
            case ev.SendParcel(node, job, parcel, attempt):
                assert isinstance(carried, Parcel) and carried.parcel == parcel
                assert carried.plan.may_run_on(self.plan_of(node)), "a parcel goes where it may not"
                attempts = self.sent.setdefault((job, parcel), {})
                assert attempt not in attempts, "one attempt was handed out twice"
                attempts[attempt] = node
                self._sent_ns[job, parcel, attempt] = world.now_ns
                self._tell_node(node, "parcel", job, carried.as_attempt(attempt))
            case ev.ForwardResults(_, job, parcel, attempt):
                assert isinstance(carried, list)
                self._tell_controller(job, "results", parcel, attempt, carried)
            case ev.TakeBack(node, job, parcel, attempt):
                for _ in range(1 + world.chance(ECHO_SHARE)):
                    self._tell_node(node, "ask_back", (job, parcel, attempt))
            case ev.Abandon(node, job, parcel, attempt):
                self._tell_node(node, "abandon", (job, parcel, attempt))
            case ev.CancelItem(node, job, parcel, attempt, index):
                assert self.sent.get((job, parcel), {}).get(attempt, node) == node
                self._tell_node(node, "cancel_item", (job, parcel, attempt), index)
            case ev.IntroduceJob(node, job):
                self._tell_node(node, "introduce", job, self.calls[job][0].plan)
            case ev.ForgetJob(node, job):
                self._tell_node(node, "forget", job)
            case ev.FinishJob(_, job):
                self._tell_controller(job, "finished")
            case ev.FailParcel(_, job, parcel, _):
                attempts = self.sent[job, parcel]
                lost = sum(node not in self.brain.nodes for node in attempts.values())
                assert lost >= self.brain.max_attempts, f"given up after {lost} lost nodes"
                self._tell_controller(job, "parcel_failed", parcel)
            case ev.FailJob(_, job, code, _):
                plan = self.calls[job][0].plan
                assert not any(plan.may_run_on(self.plan_of(node)) for node in self.brain.nodes)
                unknown = all(node.python != plan.python for node in self.brain.nodes.values())
                assert code == ("version" if plan.python is not None and unknown else "nodes")
                for body in world.nodes.values():
                    returning = body.state == "runs" and body.comes_back and body.connection is None
                    assert not (returning and plan.may_run_on(body.plan)), (
                        "a job is refused while a node that can run it is on its way back"
                    )
                self._tell_controller(job, "failed")

    def plan_of(self, node: int) -> NodePlan:
        """The machine behind a connection."""
        peer = self.connections[node].peer
        assert isinstance(peer, NodeBody)
        return peer.plan

    def _tell_controller(self, job: int, what: str, *args: Any) -> None:
        call, connection = self.calls[job]
        connection.down.post(getattr(connection.peer, what), call, connection, *args)

    def _tell_node(self, node: int, what: str, *args: Any) -> None:
        connection = self.connections.get(node)
        if connection is not None:
            connection.down.post(getattr(connection.peer, what), *args)

    def _wake(self) -> None:
        self.hear(ev.TimePassed(self.world.now_ns))

    def results(
        self,
        connection: Connection,
        key: tuple[int, int, int],
        segments: list[ev.Segment],
        results: list[Results],
    ) -> None:
        """A node finished some ranges."""
        # Late results of a lost node come twice, to make sure that they count for nothing.
        for _ in range(1 if connection.number in self.brain.nodes else 2):
            self.hear(ev.ResultsArrived(self.world.now_ns, connection.number, *key, segments), results)

    def returned(self, connection: Connection, key: tuple[int, int, int], given: bool) -> None:
        """A node answered whether it gives a parcel back."""
        self.hear(ev.ParcelReturned(self.world.now_ns, connection.number, *key, given))

    def _served(self, job: int, node: int) -> None:
        self.wanting.pop(job, None)
        served = self.brain.jobs[job].priority if job in self.brain.jobs else 0
        for other, wanting in self.wanting.items():
            state = self.brain.jobs.get(other)
            if state is None:
                continue
            if len(state.parcels) > len(state.lost) or state.open_demands:
                wanting.passed = 0  # something of it runs, or it was asked and has not answered
                wanting.since_ns = self.world.now_ns
            elif state.priority >= served and self.calls[other][0].plan.may_run_on(self.plan_of(node)):
                wanting.passed += 1
