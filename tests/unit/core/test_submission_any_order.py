"""The controller's brain, told anything in any order: by an honest server, and by one that lies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from achilles.core import submission_events as ev
from achilles.core.submission import LEAD_PARCELS, LEAD_TASKS, Submission
from achilles.errors import ProtocolError
from tests.simulation.books import check_submission
from tests.unit.core.any_order import ANY_ORDER, memory_of

KIB = 1024


class Parcel:
    """A parcel as the reader, the server and the nodes know it."""

    def __init__(self, first: int, tasks: int) -> None:
        self.first = first
        self.tasks = tasks
        self.sent: tuple[int, int] | None = None  # node and attempt, if this server got it
        self.attempt = 1
        self.missing = [(first, tasks)]
        self.partial = False  # results are kept
        self.over = False
        self.delivered = False
        self.delivered_tasks = 0


class SubmissionMachine(RuleBasedStateMachine):
    """Server, iterable and reader around one submission."""

    @initialize(
        chunksize=st.integers(1, 3),
        ordered=st.booleans(),
        budget_bytes=st.sampled_from([KIB, 1024 * KIB]),
        lists=st.booleans(),
    )
    def start(self, chunksize: int, ordered: bool, budget_bytes: int, lists: bool) -> None:
        self.brain = Submission(chunksize, ordered=ordered, budget_bytes=budget_bytes)
        self.parcels: dict[int, Parcel] = {}
        self.delivered: list[int] = []
        self.unread: list[tuple[int, int]] = []
        self.demands: list[int] = []  # nodes that this server waits for
        self.connected = True
        self.input_ended = self.end_told = self.completed = False
        self.hear(ev.InputStarted(lists))

    def hear(self, event: ev.Event) -> list[ev.Command]:
        commands = self.brain.handle(event)
        for command in commands:
            self.obey(command)
        return commands

    def obey(self, command: ev.Command) -> None:
        match command:
            case ev.SendParcel(number, node, attempt):
                known = self.parcels[number]
                assert self.connected and not known.over
                assert known.sent is None or attempt > known.sent[1], "a parcel is sent twice"
                assert not self.end_told or attempt > 1, "a parcel is sent after the end was told"
                known.sent = (node, attempt)
                known.attempt = attempt
            case ev.DropResults(number):
                known = self.parcels[number]
                assert known.partial and not known.over
                known.partial = False
            case ev.DropUnits(number):
                assert not self.parcels[number].over
                self.parcels[number].over = True
            case ev.Deliver(number, first, tasks):
                known = self.parcels[number]
                assert not known.delivered, "a parcel is delivered twice"
                assert first == known.first + known.delivered_tasks, "there is a gap, or it comes twice"
                known.delivered_tasks += tasks
                if self.brain.ordered:
                    assert number == len(self.delivered), "out of order"
                if known.over:
                    assert known.delivered_tasks == known.tasks
                    known.delivered = True
                    self.delivered.append(number)
                self.unread.append((number, tasks))
            case ev.EndInput():
                assert self.input_ended and self.connected and not self.end_told
                assert all(parcel.over or parcel.sent for parcel in self.parcels.values())
                self.end_told = True
            case ev.Complete():
                assert self.input_ended and not self.completed
                assert all(parcel.delivered for parcel in self.parcels.values())
                self.completed = True

    def out(self) -> list[int]:
        return [number for number, parcel in self.parcels.items() if parcel.sent and not parcel.over]

    # The server.

    @precondition(lambda self: self.connected)
    @rule(
        node=st.integers(0, 3),
        cpu_count=st.sampled_from([1, 2, 64]),
        packets=st.sampled_from([1, 2, 1000]),
    )
    def parcel_is_wanted(self, node: int, cpu_count: int, packets: int) -> None:
        self.hear(ev.Granted(node, cpu_count, packets))

    @precondition(lambda self: self.connected and self.out())
    @rule(
        data=st.data(),
        size_bytes=st.sampled_from([0, 10, 100 * KIB]),
        busy_us=st.sampled_from([0, 10, 10**6]),
    )
    def results_arrive(self, data: st.DataObject, size_bytes: int, busy_us: int) -> None:
        number = data.draw(st.sampled_from(self.out()))
        known = self.parcels[number]
        first, tasks = known.missing.pop(data.draw(st.integers(0, len(known.missing) - 1)))
        if tasks > 1:
            begin, end = sorted(data.draw(st.tuples(*[st.integers(0, tasks)] * 2)))
            if begin == end:
                begin, end = 0, tasks
            known.missing += [part for part in ((first, begin), (first + end, tasks - end)) if part[1]]
            first, tasks = first + begin, end - begin
        known.partial = True
        segments = [(first, tasks, 0, busy_us)]
        self.hear(ev.ResultsArrived(number, known.attempt, segments, size_bytes))
        assert known.over == (not known.missing), "a parcel is complete when all of it is in, not before"

    @precondition(lambda self: self.connected and self.out())
    @rule(data=st.data(), node=st.integers(0, 3), by=st.integers(1, 3))
    def parcel_is_wanted_again(self, data: st.DataObject, node: int, by: int) -> None:
        number = data.draw(st.sampled_from(self.out()))
        known = self.parcels[number]
        known.missing = [(known.first, known.tasks)]
        commands = self.hear(ev.ResendAsked(number, known.attempt + by, node))
        assert known.sent == (node, known.attempt) and not known.partial
        assert ev.SendParcel(number, node, known.attempt) in commands

    @precondition(lambda self: self.connected and self.out())
    @rule(data=st.data())
    def parcel_is_given_up(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.out()))
        self.hear(ev.ParcelFailed(number))
        assert self.parcels[number].over

    @precondition(lambda self: self.connected)
    @rule()
    def scheduler_is_lost(self) -> None:
        for known in self.parcels.values():
            if not known.over:
                known.sent = None
                known.attempt = 1
                known.missing = [(known.first, known.tasks)]
        self.connected = self.end_told = False
        self.hear(ev.SchedulerLost())
        assert self.brain.plan() is None

    @precondition(lambda self: not self.connected)
    @rule()
    def scheduler_is_found(self) -> None:
        self.connected = True
        self.hear(ev.SchedulerFound())

    # The caller.

    @precondition(lambda self: self.brain.plan() is not None)
    @rule(
        data=st.data(),
        size_bytes=st.sampled_from([0, 100, 10 * KIB]),
        draw_ns=st.sampled_from([0, 10**7]),
        lost=st.booleans(),
    )
    def parcel_is_drawn(self, data: st.DataObject, size_bytes: int, draw_ns: int, lost: bool) -> None:
        plan = self.brain.plan()
        assert plan is not None and plan == self.brain.plan()
        most = plan.packets * plan.packet_tasks
        tasks = data.draw(st.one_of(st.integers(0, min(most, 6)), st.just(most)))
        if lost and data.draw(st.booleans()):
            self.scheduler_is_lost()  # while it is drawn
        number, first = self.brain.next_parcel()
        assert number == len(self.parcels)
        self.parcels[number] = Parcel(first, tasks)
        packets = -(-tasks // plan.packet_tasks)
        self.hear(ev.ParcelDrawn(plan.node, tasks, packets, plan.packet_tasks, size_bytes, draw_ns))
        if self.connected:
            assert self.parcels[number].sent == (plan.node, 1)

    @precondition(lambda self: len(self.parcels) > 2)
    @rule()
    def input_ends(self) -> None:
        self.input_ended = True
        self.hear(ev.InputEnded())

    @precondition(lambda self: self.unread)
    @rule()
    def parcel_is_read(self) -> None:
        self.hear(ev.ParcelRead(*self.unread.pop(0)))

    # What is late, or a lie.

    @precondition(lambda self: self.parcels)
    @rule(data=st.data(), attempt=st.integers(0, 9))
    def late_results_count_for_nothing(self, data: st.DataObject, attempt: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.parcels)))
        known = self.parcels[number]
        if known.over or attempt != known.attempt:
            before = memory_of(self.brain)
            assert not self.hear(ev.ResultsArrived(number, attempt, [(known.first, 1, 0, 1)], 10))
            assert memory_of(self.brain) == before

    @precondition(lambda self: self.out())
    @rule(data=st.data(), where=st.sampled_from(["before", "after", "again", "huge"]))
    def lies_about_results_change_nothing(self, data: st.DataObject, where: str) -> None:
        number = data.draw(st.sampled_from(self.out()))
        known = self.parcels[number]
        first, tasks = known.missing[0]
        if where == "before":
            segments = [(first, tasks, 0, 1), (known.first - 1, 1, 0, 1)]
        elif where == "after":
            segments = [(known.first + known.tasks, 1, 0, 1)]
        elif where == "again" and tasks:
            segments = [(first, tasks, 0, 1), (first, 1, 0, 1)]
        else:
            segments = [(first, 2**62, 0, 1)]
        self.is_refused(ev.ResultsArrived(number, known.attempt, segments, 10))

    @rule(beyond=st.integers(0, 3))
    def a_parcel_that_never_was_is_not_resent(self, beyond: int) -> None:
        self.is_refused(ev.ResendAsked(len(self.parcels) + beyond, 2, 0))

    @precondition(lambda self: self.out())
    @rule(data=st.data())
    def an_old_attempt_is_not_asked_for(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.out()))
        attempt = data.draw(st.integers(0, self.parcels[number].attempt))
        self.is_refused(ev.ResendAsked(number, attempt, 0))

    @rule(cpu_count=st.sampled_from([-1, 0, 2**31]), packets=st.integers(1, 3))
    def a_node_that_cannot_be_is_not_served(self, cpu_count: int, packets: int) -> None:
        self.is_refused(ev.Granted(0, cpu_count, packets))
        self.is_refused(ev.Granted(0, 2, 0))

    def is_refused(self, event: Any) -> None:
        before = memory_of(self.brain)
        try:
            self.brain.handle(event)
        except ProtocolError:
            assert memory_of(self.brain) == before, "a refused claim has changed something"
            return
        raise AssertionError(f"{event} was believed")

    # What always holds.

    @invariant()
    def books_are_true(self) -> None:
        brain = self.brain
        check_submission(brain)
        unread = {number for number, _ in self.unread}
        read = set(self.delivered) - unread
        assert brain.parcels.keys() == self.parcels.keys() - read
        assert brain.tasks_drawn == sum(known.tasks for known in self.parcels.values())
        assert set(brain._unsent) == {
            n for n, known in self.parcels.items() if not (known.sent or known.over)
        }
        if brain.plan() is not None:
            assert brain._bytes < brain.budget_bytes or not brain.parcels, "it draws beyond its budget"
            lead = max(LEAD_TASKS, LEAD_PARCELS * brain._window_tasks)
            assert brain._unread_tasks < lead, "it draws far ahead of a slow reader"
        if self.input_ended and all(known.over for known in self.parcels.values()):
            assert self.completed

    def teardown(self) -> None:
        """A server comes, everybody answers, the reader reads: all ends, and nothing is left."""
        if not hasattr(self, "brain"):
            return
        if not self.connected:
            self.scheduler_is_found()
        self.input_ended = True
        self.hear(ev.InputEnded())
        for _ in range(len(self.parcels)):
            self.hear(ev.Granted(0, 2, 1))
        for number in self.out():
            known = self.parcels[number]
            segments = [(first, tasks, 0, 1) for first, tasks in known.missing]
            self.hear(ev.ResultsArrived(number, known.attempt, segments, 10))
        assert self.completed and self.end_told
        while self.unread:
            self.parcel_is_read()
        brain = self.brain
        assert not (brain.parcels or brain._bytes or brain._unread_tasks or brain._waiting_tasks)
        assert sorted(self.delivered) == sorted(self.parcels)


TestSubmissionInAnyOrder = SubmissionMachine.TestCase
TestSubmissionInAnyOrder.settings = ANY_ORDER
