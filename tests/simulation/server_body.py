"""Plays the server: passes messages between its brain, the nodes and the controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler

if TYPE_CHECKING:
    from tests.simulation.world import World


class ServerBody:
    """The scheduler and its connections."""

    def __init__(self, world: World, max_attempts: int) -> None:
        self.world = world
        self.brain = Scheduler(max_attempts)
        self.sent: dict[tuple[int, int], set[int]] = {}  # (job, parcel) -> attempts sent to a node
        self.served_ns: dict[int, int] = {}  # job -> when it was last served, or began to want it
        self.longest_gap_ns = 0

    def hear(self, event: ev.Event, carried: Any = None) -> None:
        """Hand an event to the brain and carry out its commands."""
        self.world.touch(event)
        for command in self.brain.handle(event):
            self._do(command, carried)
        if isinstance(event, ev.ResultsArrived | ev.TimePassed):
            return
        for job in self.brain.jobs:
            self.served_ns.setdefault(job, self.world.now_ns)

    def _do(self, command: ev.Command, carried: Any) -> None:
        world = self.world
        match command:
            case ev.WakeAt(at_ns):
                world.at(at_ns, self._wake)
            case ev.Demand(controller, job, node, cpu_count, packets):
                assert packets >= 1
                assert cpu_count == self.brain.nodes[node].cpu_count
                self._served(job)
                self._tell_controller(controller, "granted", job, node, cpu_count, packets)
            case ev.Resend(controller, job, parcel, attempt, node):
                self._served(job)
                self._tell_controller(controller, "resend", job, parcel, attempt, node)
            case ev.SendParcel(node, job, parcel, attempt):
                assert carried is not None and carried.parcel == parcel
                attempts = self.sent.setdefault((job, parcel), set())
                assert attempt not in attempts, "one attempt was handed out twice"
                attempts.add(attempt)
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

    def _served(self, job: int) -> None:
        now_ns = self.world.now_ns
        self.longest_gap_ns = max(self.longest_gap_ns, now_ns - self.served_ns.get(job, now_ns))
        self.served_ns[job] = now_ns
