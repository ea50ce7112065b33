"""The server's brain, told anything in any order: by honest nodes and controllers, and by others."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import STALE_NS, Scheduler
from achilles.errors import ProtocolError
from tests.simulation.books import check_scheduler
from tests.unit.core.any_order import ANY_ORDER, memory_of
from tests.unit.core.scheduler_world import Job, Parcel, World

MIB = 1024 * 1024
PYTHONS = [(3, 11), (3, 12)]
NAMES = [("alice", "10.0.0.1"), ("bob", "10.0.0.2"), ()]
MAX_NODES = 6
MAX_JOBS = 4


class SchedulerMachine(World, RuleBasedStateMachine):
    """Everybody around a scheduler."""

    @initialize(max_attempts=st.integers(1, 3))
    def start(self, max_attempts: int) -> None:
        self.brain = Scheduler(max_attempts)
        self.node_joins(2, PYTHONS[0], NAMES[0])
        self.job_is_submitted(1, None, 1.0, 0, None, 1)

    # Honest peers.

    @precondition(lambda self: len(self.cpu_counts) < MAX_NODES)
    @rule(cpu_count=st.sampled_from([1, 2, 8]), python=st.sampled_from(PYTHONS), names=st.sampled_from(NAMES))
    def node_joins(self, cpu_count: int, python: tuple[int, int], names: tuple[str, ...]) -> None:
        self.serial += 1
        self.cpu_counts[self.serial] = cpu_count
        self.pythons[self.serial] = python
        self.names[self.serial] = names
        self.hear(ev.NodeJoined, self.serial, cpu_count, python, names=names)

    @precondition(lambda self: len(self.cpu_counts) > 1)
    @rule(data=st.data())
    def node_is_lost(self, data: st.DataObject) -> None:
        node = self.pick(data, self.cpu_counts)
        del self.cpu_counts[node], self.pythons[node]
        self.draining.discard(node)
        self.lent.discard(node)
        self.introduced = {(other, job) for other, job in self.introduced if other != node}
        for job in self.jobs.values():
            for known in job.parcels.values():
                if known.current and known.attempts[known.current] == node:
                    known.current = 0
                    known.losses += 1
        self.hear(ev.NodeLost, node)

    @precondition(lambda self: len(self.cpu_counts) - len(self.draining) > 2)
    @rule(data=st.data())
    def node_drains(self, data: st.DataObject) -> None:
        node = self.pick(data, self.cpu_counts)
        self.draining.add(node)
        self.hear(ev.NodeDraining, node)

    @rule(data=st.data(), slots=st.integers(0, 8))
    def slots_are_lent(self, data: st.DataObject, slots: int) -> None:
        if self.cpu_counts:
            node = self.pick(data, self.cpu_counts)
            slots = min(slots, self.cpu_counts[node])
            (self.lent.add if slots == self.cpu_counts[node] else self.lent.discard)(node)
            self.hear(ev.SlotsLent, node, slots)

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(
        chunksize=st.sampled_from([1, 3]),
        python=st.sampled_from([None, None, *PYTHONS]),
        weight=st.sampled_from([1.0, 3.0]),
        priority=st.sampled_from([0, 0, 0, 7, -7]),
        name=st.sampled_from([None, None, "alice", "10.0.0.2"]),
        slots=st.sampled_from([1, 1, 2, 3]),
    )
    def job_is_submitted(
        self,
        chunksize: int,
        python: tuple[int, int] | None,
        weight: float,
        priority: int,
        name: str | None,
        slots: int,
    ) -> None:
        self.serial += 1
        self.jobs[self.serial] = Job(chunksize, python, name, slots)
        patterns = () if name is None else ("nobody", f"{name[:2]}*{name[-1]}".upper())
        needs = {"priority": priority, "nodes": patterns, "slots": slots}
        self.hear(ev.JobSubmitted, self.serial, 0, chunksize, python, weight, **needs)

    @precondition(lambda self: any(job.demands for job in self.jobs.values()))
    @rule(data=st.data(), size_bytes=st.sampled_from([0, 100, 40 * MIB]), twice=st.booleans())
    def parcel_arrives(self, data: st.DataObject, size_bytes: int, twice: bool) -> None:
        self.answer(data, size_bytes, twice)

    @precondition(lambda self: any(job.demands for job in self.jobs.values()))
    @rule(data=st.data(), parcels=st.integers(2, 5))
    def parcels_arrive(self, data: st.DataObject, parcels: int) -> None:
        for _ in range(parcels):
            if any(job.demands for job in self.jobs.values()):
                self.answer(data, 100, twice=False)

    def answer(self, data: st.DataObject, size_bytes: int, twice: bool) -> None:
        number = self.pick(data, {number for number, job in self.jobs.items() if job.demands})
        job = self.jobs[number]
        demand = job.demands.pop(data.draw(st.integers(0, len(job.demands) - 1)))
        tasks = data.draw(st.integers(0, min(demand.packets * demand.cpu_count * job.chunksize, 50)))
        parcel, known = job.next_parcel, Parcel(job.next_index, tasks, size_bytes)
        job.parcels[parcel] = known
        job.next_parcel += 1
        job.next_index += tasks
        self.carried = (number, parcel)
        last = job.ended or (job.next_parcel > 2 and data.draw(st.integers(0, 9)) == 0)
        if last:
            job.ended = True
            job.demands.clear()
        for _ in range(1 + twice):
            self.hear(ev.ParcelArrived, number, parcel, demand.node, tasks, size_bytes, 1, known.first, last)
        self.carried = None

    @precondition(lambda self: any(job.resends for job in self.jobs.values()))
    @rule(data=st.data())
    def parcel_is_sent_again(self, data: st.DataObject) -> None:
        number = self.pick(data, {number for number, job in self.jobs.items() if job.resends})
        job = self.jobs[number]
        asked = job.resends.pop(data.draw(st.integers(0, len(job.resends) - 1)))
        known = job.parcels.get(asked.parcel) or job.done[asked.parcel]
        self.carried = (number, asked.parcel)
        self.hear(
            ev.ParcelArrived,
            number,
            asked.parcel,
            asked.node,
            known.tasks,
            known.size_bytes,
            asked.attempt,
            known.first,
        )
        self.carried = None

    def unended(self) -> set[int]:
        return {number for number, job in self.jobs.items() if not job.ended and job.next_parcel > 2}

    @precondition(lambda self: self.unended())
    @rule(data=st.data())
    def input_ends(self, data: st.DataObject) -> None:
        number = self.pick(data, self.unended())
        self.jobs[number].ended = True
        self.jobs[number].demands.clear()
        self.hear(ev.InputEnded, number)

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(data=st.data())
    def job_is_cancelled(self, data: st.DataObject) -> None:
        number = self.pick(data, self.jobs)
        del self.jobs[number]
        self.hear(ev.JobCancelled, number)

    @precondition(lambda self: self.out())
    @rule(data=st.data(), busy_us=st.sampled_from([0, 10, 5_000, 10**12]), status=st.integers(0, 2))
    def results_arrive(self, data: st.DataObject, busy_us: int, status: int) -> None:
        number, parcel = self.pick(data, self.out())
        known = self.jobs[number].parcels[parcel]
        first, tasks = known.missing.pop(data.draw(st.integers(0, len(known.missing) - 1)))
        if tasks > 1:
            begin, end = sorted(data.draw(st.tuples(*[st.integers(0, tasks)] * 2)))
            if begin == end:
                begin, end = 0, tasks
            known.missing += [part for part in ((first, begin), (first + end, tasks - end)) if part[1]]
            first, tasks = first + begin, end - begin
        attempt = known.current
        node = known.attempts[attempt]
        if not known.missing:
            self.jobs[number].done[parcel] = self.jobs[number].parcels.pop(parcel)
        commands = self.hear(
            ev.ResultsArrived, node, number, parcel, attempt, [(first, tasks, status, busy_us)]
        )
        assert ev.ForwardResults(0, number, parcel, attempt) in commands

    @precondition(lambda self: any(job.parcels for job in self.jobs.values()))
    @rule(data=st.data(), attempt=st.integers(1, 4), place=st.integers(-1, 3))
    def item_is_cancelled(self, data: st.DataObject, attempt: int, place: int) -> None:
        number = self.pick(data, {number for number, job in self.jobs.items() if job.parcels})
        parcel = self.pick(data, self.jobs[number].parcels)
        known = self.jobs[number].parcels[parcel]
        item = (number, parcel, attempt, known.first + place)
        if known.current == attempt and not 0 <= place < known.tasks:
            self.is_refused(ev.ItemCancelled, *item)
            return
        commands = self.hear(ev.ItemCancelled, *item)
        told = [command for command in commands if isinstance(command, ev.CancelItem)]
        nodes = [known.attempts[attempt]] if known.current == attempt else []
        assert told == [ev.CancelItem(node, *item) for node in nodes]

    @precondition(lambda self: self.asked_back)
    @rule(data=st.data(), willing=st.booleans())
    def parcel_is_returned(self, data: st.DataObject, willing: bool) -> None:
        back = self.asked_back.pop(data.draw(st.integers(0, len(self.asked_back) - 1)))
        self.give_back(back.node, back.job, back.parcel, back.attempt, willing)

    @precondition(lambda self: any(self.at_draining()))
    @rule(data=st.data())
    def draining_node_returns_a_parcel(self, data: st.DataObject) -> None:
        number, parcel = self.pick(data, self.at_draining())
        known = self.jobs[number].parcels[parcel]
        self.give_back(known.attempts[known.current], number, parcel, known.current, True)

    def at_draining(self) -> list[tuple[int, int]]:
        return [
            (number, parcel)
            for number, parcel in self.out()
            if (known := self.jobs[number].parcels[parcel]).attempts[known.current] in self.draining
        ]

    def give_back(self, node: int, number: int, parcel: int, attempt: int, willing: bool) -> None:
        known = self.jobs[number].parcels.get(parcel) if number in self.jobs else None
        counts = known is not None and known.current == attempt and known.attempts[attempt] == node
        given = willing and not (counts and known and known.missing != [(known.first, known.tasks)])
        if counts and given and known is not None:
            known.current = 0
        commands = self.hear(ev.ParcelReturned, node, number, parcel, attempt, given)
        if counts and given:
            assert not [command for command in commands if isinstance(command, ev.FailParcel)]

    @rule(ns=st.sampled_from([1, STALE_NS // 3, STALE_NS, 20 * STALE_NS, 200 * STALE_NS]))
    def time_passes(self, ns: int) -> None:
        self.now_ns += ns
        self.hear(ev.TimePassed)

    # Late and dishonest peers.

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), attempt=st.integers(0, 5))
    def late_results_count_for_nothing(self, data: st.DataObject, attempt: int) -> None:
        number = self.pick(data, self.jobs)
        parcel = data.draw(st.integers(0, self.jobs[number].next_parcel))
        known = self.jobs[number].parcels.get(parcel)
        nodes = {*self.cpu_counts, 0}
        if known is not None:
            nodes.update(known.attempts.values())
        node = self.pick(data, nodes)
        if known is not None and known.current == attempt and known.attempts.get(attempt) == node:
            return
        if known is not None and not known.current and node in self.cpu_counts:
            return  # it may be on its way there, and such results a lie
        self.hear(ev.TimePassed)  # what is due anyway
        before = memory_of(self.brain)
        assert not self.hear(ev.ResultsArrived, node, number, parcel, attempt, [(0, 1, 0, 1)])
        assert memory_of(self.brain) == before

    @precondition(lambda self: self.out())
    @rule(data=st.data(), where=st.sampled_from(["before", "after", "again", "huge"]))
    def lies_about_results_change_nothing(self, data: st.DataObject, where: str) -> None:
        number, parcel = self.pick(data, self.out())
        known = self.jobs[number].parcels[parcel]
        first, tasks = known.missing[0]
        if where == "before":
            segments = [(first, tasks, 0, 1), (known.first - 1, 1, 0, 1)]
        elif where == "after":
            segments = [(known.first + known.tasks, 1, 0, 1)]
        elif where == "again" and tasks:
            segments = [(first, tasks, 0, 1), (first, 1, 0, 1)]
        else:
            segments = [(first, 2**62, 0, 1)]
        node = known.attempts[known.current]
        self.is_refused(ev.ResultsArrived, node, number, parcel, known.current, segments)

    @precondition(lambda self: self.out())
    @rule(data=st.data())
    def a_parcel_that_nobody_asked_for_is_not_taken_back(self, data: st.DataObject) -> None:
        number, parcel = self.pick(data, self.out())
        known = self.jobs[number].parcels[parcel]
        node = known.attempts[known.current]
        asked = self.brain.jobs[number].parcels[parcel].asked_back_for is not None
        if node not in self.draining and not asked:
            self.is_refused(ev.ParcelReturned, node, number, parcel, known.current, True)

    @precondition(lambda self: any(job.resends for job in self.jobs.values()))
    @rule(data=st.data())
    def a_parcel_must_be_what_it_was(self, data: st.DataObject) -> None:
        number = self.pick(data, {number for number, job in self.jobs.items() if job.resends})
        asked = self.pick(data, self.jobs[number].resends)
        known = self.jobs[number].parcels.get(asked.parcel)
        there = self.brain.jobs[number].parcels.get(asked.parcel)
        if known is None or there is None or there.node != asked.node or there.attempt != asked.attempt:
            return
        if asked.node in self.cpu_counts and asked.node not in self.draining | self.lent:
            what = (number, asked.parcel, asked.node, known.tasks + 1, 10, asked.attempt, known.first)
            self.is_refused(ev.ParcelArrived, *what)

    def is_refused(self, kind: Any, *args: Any) -> None:
        before = memory_of(self.brain)
        try:
            self.brain.handle(kind(self.now_ns, *args))
        except ProtocolError:
            assert memory_of(self.brain) == before, "a refused claim has changed something"
            return
        raise AssertionError(f"{kind.__name__}{args} was believed")

    # What always holds.

    @invariant()
    def books_are_true(self) -> None:
        check_scheduler(self.brain)
        assert self.brain.jobs.keys() == self.jobs.keys()
        assert self.brain.nodes.keys() == self.cpu_counts.keys()
        for number, job in self.jobs.items():
            known = self.brain.jobs[number]
            assert known.parcels.keys() == job.parcels.keys()
            assert known.asked >= len(job.demands) or job.ended
            waiting = {parcel for parcel, there in job.parcels.items() if not there.current}
            assert waiting == set(known.lost) | {
                parcel for parcel, there in known.parcels.items() if not there.sent
            }
            given_up = [there for there in job.parcels.values() if there.losses >= self.brain.max_attempts]
            assert not given_up, "a parcel is tried on more nodes than it may be"
        for name, node in self.brain.nodes.items():
            for number in node.reserved:
                assert self.now_ns < self.asked_ns[number, name] + STALE_NS, "a stale demand keeps its room"
        told = {(name, job) for name, node in self.brain.nodes.items() for job in node.jobs}
        assert told == self.introduced

    def teardown(self) -> None:
        """Everybody answers, a large node of each Python and name comes: all ends, and nothing is left."""
        if not hasattr(self, "brain"):
            return
        for python in PYTHONS:
            self.node_joins(8, python, ("alice", "10.0.0.2"))
        for number, job in list(self.jobs.items()):
            if not job.ended:
                job.ended = True
                self.hear(ev.InputEnded, number)
        for _ in range(10_000):
            if not self.jobs:
                break
            for number, job in list(self.jobs.items()):
                for asked in job.resends:
                    known = job.parcels.get(asked.parcel)
                    if known is not None:
                        self.carried = (number, asked.parcel)
                        what = (asked.node, known.tasks, known.size_bytes, asked.attempt, known.first)
                        self.hear(ev.ParcelArrived, number, asked.parcel, *what)
                job.resends.clear()
            for number, parcel in self.out():
                job, known = self.jobs[number], self.jobs[number].parcels[parcel]
                job.done[parcel] = job.parcels.pop(parcel)
                segments = [(first, tasks, 0, 1) for first, tasks in known.missing]
                node = known.attempts[known.current]
                self.hear(ev.ResultsArrived, node, number, parcel, known.current, segments)
        assert not self.jobs, "a job does not end although everybody answers"
        self.now_ns += 2 * STALE_NS
        self.hear(ev.TimePassed)
        assert not (self.brain.jobs or len(self.brain._due) or self.brain._demands or self.introduced)
        assert not self.brain._unrunnable._refused_at_ns
        for node in self.brain.nodes.values():
            assert not (node.parcels or node.parcels_of or node.reserved or node.jobs)
            assert node.work_ns == node.reserved_ns == 0.0


TestSchedulerInAnyOrder = SchedulerMachine.TestCase
TestSchedulerInAnyOrder.settings = ANY_ORDER
