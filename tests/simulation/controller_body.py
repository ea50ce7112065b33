"""Plays the controller: draws arguments, keeps parcels, resends, and reads like a user.

Arguments and results are index ranges, so that what the user would see can be checked exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from achilles.core import scheduler_events as server_ev
from achilles.core import submission_events as ev
from achilles.core.submission import DrawPlan
from tests.simulation.calls import Call, Parcel, take
from tests.simulation.reading import Results, check_parcel
from tests.simulation.scenario import ControllerPlan, JobPlan

if TYPE_CHECKING:
    from tests.simulation.world import World


class ControllerBody:
    """All calls of one client."""

    def __init__(self, world: World, plan: ControllerPlan) -> None:
        from tests.simulation.world import Link

        self.world = world
        self.plan = plan
        self.up = Link(world, plan.latency_ns)
        self.down = Link(world, plan.latency_ns)
        self.calls: dict[int, Call] = {}
        if plan.lost_ns is not None:
            world.at(plan.lost_ns, self._lose)

    def _lose(self) -> None:
        self.up.cut = self.down.cut = True
        for call in self.calls.values():
            call.state = "left"
        self.world.after(self.plan.latency_ns, self._noticed)

    def _noticed(self) -> None:
        for job in self.calls:
            self.world.server.hear(server_ev.JobCancelled(self.world.now_ns, job))

    def submit(self, plan: JobPlan) -> None:
        """The user makes a call."""
        if self.up.cut:
            return
        call = self.calls[plan.job] = Call(plan)
        self._tell(
            server_ev.JobSubmitted, plan.job, plan.controller, plan.chunksize, plan.python, plan.weight
        )
        self._hear(call, ev.InputStarted(plan.lists is not None))
        if plan.cancel_ns is not None:
            self.world.at(plan.cancel_ns, self._leave, call)

    def _tell(self, event: type, *args: Any, carried: Any = None) -> None:
        self.up.post(lambda: self.world.server.hear(event(self.world.now_ns, *args), carried))

    def _leave(self, call: Call) -> None:
        if call.state == "runs":
            call.state = "left"
            self._tell(server_ev.JobCancelled, call.plan.job)

    def _hear(self, call: Call, event: ev.Event) -> None:
        self.world.touch(call)
        for command in call.brain.handle(event):
            self._do(call, command)
        self._draw(call)

    def _do(self, call: Call, command: ev.Command) -> None:
        match command:
            case ev.SendParcel(number, node, attempt):
                parcel = replace(call.parcels[number], attempt=attempt, node=node)
                self._tell(
                    server_ev.ParcelArrived,
                    parcel.job,
                    number,
                    node,
                    parcel.tasks,
                    parcel.size_bytes,
                    attempt,
                    parcel.first,
                    carried=parcel,
                )
            case ev.DropResults(number):
                del call.results[number]
            case ev.DropUnits(number):
                del call.parcels[number]
            case ev.Deliver(number):
                self._deliver(call, number)
            case ev.EndInput():
                self._tell(server_ev.InputEnded, call.plan.job)
            case ev.Complete():
                assert not call.completed
                call.completed = True

    # What the server says.

    def granted(self, job: int, node: int, cpu_count: int, packets: int) -> None:
        """The server asks for a parcel."""
        call = self.calls[job]
        if call.state == "runs":
            call.grants[node] = cpu_count
            self._hear(call, ev.Granted(node, cpu_count, packets))

    def resend(self, job: int, parcel: int, attempt: int, node: int) -> None:
        """The server asks for a parcel again."""
        call = self.calls[job]
        if call.state == "runs":
            assert parcel not in call.seen, "a delivered parcel is asked for again"
            self._hear(call, ev.ResendAsked(parcel, attempt, node))

    def results(self, job: int, parcel: int, attempt: int, results: list[Results]) -> None:
        """Results came."""
        call = self.calls[job]
        if call.state != "runs":
            return
        known = call.brain.parcels.get(parcel)
        if known is not None and not known.complete and known.attempt == attempt:
            call.results.setdefault(parcel, []).extend(results)
        segments = [(part.first, part.tasks, part.status, part.busy_us) for part in results]
        self._hear(
            call, ev.ResultsArrived(parcel, attempt, segments, sum(part.size_bytes for part in results))
        )

    def parcel_failed(self, job: int, parcel: int) -> None:
        """The server gave a parcel up."""
        call = self.calls[job]
        if call.state == "runs":
            call.failed.add(parcel)
            self._hear(call, ev.ParcelFailed(parcel))

    def finished(self, job: int) -> None:
        """The server says that everything is delivered."""
        call = self.calls[job]
        assert not call.finished
        call.finished = True
        if call.state == "runs":
            assert call.completed, "the server finished a job that is not complete here"
            call.state = "done"

    def failed(self, job: int) -> None:
        """The server says that the job cannot run."""
        if self.calls[job].state == "runs":
            self.calls[job].state = "failed"

    # The user's iterable.

    def _draw(self, call: Call) -> None:
        if call.drawing or call.state != "runs":
            return
        plan = call.brain.plan()
        if plan is None:
            return
        call.drawing = True
        blind = call.brain._result_bytes is None
        units, packets, packet_tasks, ended, draw_ns = take(call, plan)
        if blind:
            call.blind_tasks += sum(units)
        self.world.after(draw_ns, self._drawn, call, plan, units, packets, packet_tasks, ended, draw_ns)

    def _drawn(
        self,
        call: Call,
        plan: DrawPlan,
        units: list[int],
        packets: int,
        packet_tasks: int,
        ended: bool,
        draw_ns: int,
    ) -> None:
        call.drawing = False
        if call.state != "runs":
            return
        if packets:
            number, first = call.brain.next_parcel()
            tasks = sum(units)
            assert first == call.next_index
            if call.plan.lists is None:
                assert packet_tasks == call.grants[plan.node] * call.plan.chunksize, "packets are not exact"
            call.next_index += tasks
            size_bytes = tasks * call.plan.task_bytes
            call.shapes[number] = (first, tasks, packet_tasks)
            call.parcels[number] = Parcel(
                call.plan.job, number, 1, plan.node, first, tasks, packet_tasks, units, size_bytes
            )
            self._hear(call, ev.ParcelDrawn(plan.node, tasks, packets, packet_tasks, size_bytes, draw_ns))
        if ended:
            self._hear(call, ev.InputEnded())
        else:
            self._draw(call)

    # The user who reads.

    def _deliver(self, call: Call, number: int) -> None:
        assert number not in call.seen, "delivered twice"
        call.seen.add(number)
        if call.plan.ordered:
            assert number == call.delivered, "out of order"
        call.delivered += 1
        check_parcel(call.plan, call.shapes[number], call.results.pop(number, []), number in call.failed)
        call.unread.append(number)
        self._read(call)

    def _read(self, call: Call) -> None:
        plan = call.plan
        if call.reading or not call.unread or call.read == plan.stop_reading_after:
            return
        call.reading = True
        self.world.after(plan.read_ns, self._have_read, call)

    def _have_read(self, call: Call) -> None:
        call.reading = False
        call.read += 1
        self._hear(call, ev.ParcelRead(call.unread.popleft()))
        if call.read == call.plan.leave_after:
            self._leave(call)
        self._read(call)
