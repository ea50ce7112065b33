"""Plays the server: passes messages between its brain, the nodes and the controllers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler

if TYPE_CHECKING:
    from tests.simulation.world import World


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
        self.sent: dict[tuple[int, int], set[int]] = {}  # (job, parcel) -> attempts sent to a node
        self.wanting: dict[int, Wanting] = {}  # jobs that want room and have not been served since
        self._sent_ns: dict[tuple[int, int, int], int] = {}
        self.longest_stay_ns = 0  # of a parcel at a node, until its first result

    def hear(self, event: ev.Event, carried: Any = None) -> None:
        """Hand an event to the brain and carry out its commands."""
        self.world.touch(event)
        for command in self.brain.handle(event):
            self._do(command, carried)
        if isinstance(event, ev.ResultsArrived):
            sent_ns = self._sent_ns.pop((event.job, event.parcel, event.attempt), self.world.now_ns)
            self.longest_stay_ns = max(self.longest_stay_ns, self.world.now_ns - sent_ns)
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
            case ev.Demand(controller, job, node, cpu_count, packets):
                assert packets >= 1
                assert cpu_count == self.brain.nodes[node].cpu_count
                self._served(job, node)
                self._tell_controller(controller, "granted", job, node, cpu_count, packets)
            case ev.Resend(controller, job, parcel, attempt, node):
                self._served(job, node)
                self._tell_controller(controller, "resend", job, parcel, attempt, node)
            case ev.SendParcel(node, job, parcel, attempt):
                assert carried is not None and carried.parcel == parcel
                attempts = self.sent.setdefault((job, parcel), set())
                assert attempt not in attempts, "one attempt was handed out twice"
                attempts.add(attempt)
                self._sent_ns[job, parcel, attempt] = world.now_ns
                self._tell_node(node, "parcel", carried.as_attempt(attempt))
            case ev.ForwardResults(controller, job, parcel, attempt):
                self._tell_controller(controller, "results", job, parcel, attempt, carried)
            case ev.IntroduceJob(node, job):
                self._tell_node(node, "introduce", job)
            case ev.ForgetJob(node, job):
                self._tell_node(node, "forget", job)
            case ev.FinishJob(controller, job):
                self._tell_controller(controller, "finished", job)
            case ev.FailParcel(controller, job, parcel, _):
                self._tell_controller(controller, "parcel_failed", job, parcel)
            case ev.FailJob(controller, job, code, _):
                assert code == "version"
                wanted = world.jobs[job].python
                assert all(node.python != wanted for node in self.brain.nodes.values())
                self._tell_controller(controller, "failed", job)

    def _tell_controller(self, controller: int, what: str, *args: Any) -> None:
        body = self.world.controllers[controller]
        body.down.post(getattr(body, what), *args)

    def _tell_node(self, node: int, what: str, *args: Any) -> None:
        body = self.world.nodes[node]
        body.down.post(getattr(body, what), *args)

    def _wake(self) -> None:
        self.hear(ev.TimePassed(self.world.now_ns))

    def _served(self, job: int, node: int) -> None:
        self.wanting.pop(job, None)
        python = self.brain.nodes[node].python
        for other, wanting in self.wanting.items():
            state = self.brain.jobs.get(other)
            if state is None:
                continue
            if len(state.parcels) > len(state.lost) or state.open_demands:
                wanting.passed = 0  # something of it runs, or it was asked and has not answered
                wanting.since_ns = self.world.now_ns
            elif state.python in (None, python):
                wanting.passed += 1
