"""Plays the controller: draws arguments, keeps parcels, resends, and reads like a user.

Arguments and results are index ranges, so that what the user would see can be checked exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from achilles.core import submission_events as ev
from achilles.core.promised import first_parcels, offers_of
from achilles.core.submission import DrawPlan
from tests.simulation.calls import Call, Parcel, take
from tests.simulation.connections import Connection, Peer
from tests.simulation.reading import Results, check_parcel, within
from tests.simulation.scenario import ControllerPlan, JobPlan

if TYPE_CHECKING:
    from tests.simulation.world import World

# How many jobs come with parcels that nobody asked for, and how many of those know the nodes of that moment.
EARLY_SHARE = 0.7
FRESH_SHARE = 0.6


class ControllerBody(Peer):
    """All calls of one client."""

    def __init__(self, world: World, plan: ControllerPlan) -> None:
        super().__init__(world, plan.latency_ns, plan.cuts)
        self.plan = plan
        self.calls: dict[int, Call] = {}
        self.offers: tuple[tuple[int, int], ...] = ()
        self.slots = 1
        self.dial()
        if plan.lost_ns is not None:
            world.at(plan.lost_ns, self._die)

    def _die(self) -> None:
        for call in self.calls.values():
            if call.state == "runs":
                call.state = "left"
        self.comes_back = False
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
            self.world.after(self.plan.latency_ns, connection.server.left, connection)

    def connected(self, connection: Connection) -> None:
        """Announce every job that is not over."""
        self._look(connection)
        connection.up.post(connection.server.welcomed, connection)
        for call in self.calls.values():
            if call.state == "runs":
                connection.up.post(connection.server.submitted, connection, call)
                self._hear(call, ev.SchedulerFound())

    def disconnected(self) -> None:
        """What was out starts over."""
        for call in self.calls.values():
            if call.state == "runs":
                call.grants = {}
                self._hear(call, ev.SchedulerLost())

    def submit(self, plan: JobPlan) -> None:
        """The user makes a call (which fails where there is no server at that moment)."""
        connection = self.connection
        if connection is None:
            return
        call = self.calls[plan.job] = Call(plan)
        if self.world.chance(FRESH_SHARE):
            self._look(connection)
        early = self._early(plan) if self.world.chance(EARLY_SHARE) else []
        connection.up.post(connection.server.submitted, connection, call, tuple(node for node, _, _ in early))
        tasks = plan.tasks if plan.sized else None
        self._hear(call, ev.InputStarted(plan.lists is not None, tasks, plan.task_bytes if tasks else None))
        for node, cpu_count, packets in early:
            self.granted(call, connection, node, cpu_count, packets)
        if plan.cancel_ns is not None:
            self.world.at(plan.cancel_ns, self._leave, call)
        for after_ns, index in plan.cancels:
            self.world.after(after_ns, self._cancel_item, call, index)

    def _look(self, connection: Connection) -> None:
        """Hear which nodes there are; what was heard once may be long past when the next job comes."""
        nodes = connection.server.brain.nodes.values()
        self.offers, self.slots = offers_of(nodes), sum(node.cpu_count for node in nodes)

    def _early(self, plan: JobPlan) -> list[tuple[int, int, int]]:
        if plan.nodes:
            return []
        return first_parcels(
            self.offers,
            tasks=plan.tasks or 0 if plan.says_tasks else 0,
            chunksize=plan.chunksize,
            task_slots=plan.slots,
            slots=self.slots,
            expected_ns=plan.expected_ns or 0,
        )

    def _cancel_item(self, call: Call, index: int) -> None:
        if call.state == "runs":
            if index >= call.brain.tasks_drawn:
                call.never.add(index)
            for parcel, attempt in call.cancelled.add(index):
                self._tell_cancelled(call, parcel, attempt, index)

    def _tell_cancelled(self, call: Call, parcel: int, attempt: int, index: int) -> None:
        if (connection := self.connection) is not None:
            server = connection.server
            connection.up.post(server.item_cancelled, connection, call.plan.job, parcel, attempt, index)

    def _leave(self, call: Call) -> None:
        if call.state == "runs":
            call.state = "left"
            connection = self.connection
            if connection is not None:
                connection.up.post(connection.server.cancelled, connection, call.plan.job)

    def _hear(self, call: Call, event: ev.Event) -> None:
        self.world.touch(call)
        for command in call.brain.handle(event):
            self._do(call, command)
        self._draw(call)

    def _do(self, call: Call, command: ev.Command) -> None:
        connection = self.connection
        match command:
            case ev.SendParcel(number, node, attempt):
                assert connection is not None, "a parcel is sent to nobody"
                parcel = replace(call.parcels[number], attempt=attempt, node=node)
                for index in call.cancelled.of_parcel(number):
                    self._tell_cancelled(call, number, attempt, index)
                connection.up.post(connection.server.parcel_arrived, connection, parcel)
            case ev.DropResults(number, attempt):
                del call.results[number, attempt]
            case ev.Redraw(number, first):
                assert number not in call.seen and call.delivered_to.get(number, first) == first
                del call.parcels[number], call.shapes[number]
                call.next_index = first
            case ev.DropUnits(number):
                del call.parcels[number]
                call.cancelled.done(number)
            case ev.Deliver():
                self._deliver(call, command)
            case ev.EndInput():
                assert connection is not None, "the end is told to nobody"
                connection.up.post(connection.server.input_ended, connection, call.plan.job)
            case ev.Complete():
                assert call.state != "done"
                if call.state == "runs":
                    call.state = "done"

    # What the server says.

    def granted(self, call: Call, _: Connection, node: int, cpu_count: int, packets: int) -> None:
        """The server asks for a parcel."""
        if call.state == "runs":
            call.grants[node] = cpu_count
            self._hear(call, ev.Granted(node, cpu_count, packets))

    def resend(
        self, call: Call, _: Connection, parcel: int, attempt: int, node: int, beside: int, redraw: bool
    ) -> None:
        """The server asks for a parcel again."""
        if call.state == "runs":
            assert call.plan.speculate or not beside, "a copy that was not allowed"
            assert beside or parcel not in call.seen, "a delivered parcel is asked for again"
            self._hear(call, ev.ResendAsked(parcel, attempt, node, beside, redraw))

    def results(self, call: Call, _: Connection, parcel: int, attempt: int, results: list[Results]) -> None:
        """Results came."""
        if call.state != "runs":
            return
        known = call.brain.parcels.get(parcel)
        if known is not None and not known.complete and attempt in known.attempts:
            call.results.setdefault((parcel, attempt), []).extend(results)
        segments = [(part.first, part.tasks, part.status, part.busy_us) for part in results]
        self._hear(
            call, ev.ResultsArrived(parcel, attempt, segments, sum(part.size_bytes for part in results))
        )

    def parcel_failed(self, call: Call, _: Connection, parcel: int) -> None:
        """The server gave a parcel up."""
        if call.state == "runs":
            call.failed.add(parcel)
            known = call.brain.parcels[parcel]
            assert not known.complete, "a complete parcel was given up"
            self._hear(call, ev.ParcelFailed(parcel))

    def finished(self, call: Call, connection: Connection) -> None:
        """The server says that everything is delivered."""
        assert connection is self.connection
        assert call.state != "runs", "the server finished a job that is not complete here"

    def failed(self, call: Call, _: Connection) -> None:
        """The server says that the job cannot run."""
        if call.state == "runs":
            call.state = "failed"

    # The user's iterable.

    def _draw(self, call: Call) -> None:
        if call.drawing or call.state != "runs":
            return
        plan = call.brain.plan()
        if plan is None:
            return
        assert plan.cpu_count == call.grants[plan.node]
        call.drawing = True
        # What failed has small results: of those alone nobody learns how large the others are.
        known_bytes = call.brain._result_bytes
        blind = known_bytes is None or known_bytes * call.plan.largest_packet < call.plan.result_bytes
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
                assert packet_tasks == plan.cpu_count * call.plan.chunksize, "packets are not exact"
            call.next_index += tasks
            size_bytes = tasks * call.plan.task_bytes
            call.shapes[number] = (first, tasks, packet_tasks)
            call.parcels[number] = Parcel(
                call.plan, number, 1, plan.node, first, tasks, packet_tasks, units, size_bytes
            )
            self._hear(call, ev.ParcelDrawn(plan.node, tasks, packets, packet_tasks, size_bytes, draw_ns))
        if ended:
            self._hear(call, ev.InputEnded())
        else:
            self._draw(call)

    # The user who reads.

    def _deliver(self, call: Call, command: ev.Deliver) -> None:
        number, first, end = command.parcel, command.first, command.first + command.tasks
        parcel_first, parcel_tasks, packet_tasks = call.shapes[number]
        complete = call.brain.parcels[number].complete
        assert number not in call.seen, "delivered twice"
        assert first == call.delivered_to.get(number, parcel_first), "a gap, or delivered twice"
        call.delivered_to[number] = end
        if call.plan.ordered:
            assert number == call.delivered, "out of order"
        results = call.results.get((number, command.attempt), [])
        if complete:
            assert end == parcel_first + parcel_tasks
            call.seen.add(number)
            call.delivered += 1
            call.results.pop((number, command.attempt), None)
        else:
            assert command.tasks > 0 and (end - parcel_first) % packet_tasks == 0, "half a packet"
        parts = [
            within(part, first, end, packet_tasks)
            for part in results
            if (part.first < end and part.first + part.tasks > first) or not parcel_tasks
        ]
        shape = (first, command.tasks, packet_tasks)
        check_parcel(call.plan, shape, parts, complete and number in call.failed, call.never)
        call.unread.append((number, command.tasks))
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
        self._hear(call, ev.ParcelRead(*call.unread.popleft()))
        if call.read == call.plan.leave_after:
            self._leave(call)
        self._read(call)
