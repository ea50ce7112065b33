"""The node's brain, told anything in any order: workers that die, jobs that go, a server that stutters."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from achilles.core import slots_events as ev
from achilles.core.long_pieces import PATIENCE_NS
from achilles.core.packets import cut_units
from achilles.core.slots import CANCEL_GRACE_NS, FLUSH_BYTES
from tests.simulation.books import check_slots
from tests.unit.core.any_order import ANY_ORDER
from tests.unit.core.slots_world import LIMIT_NS, MAX_WORKERS, MS, Parcel, Worker, World

JOBS = 3


class SlotsMachine(World, RuleBasedStateMachine):
    """Server and workers around the slots of one node."""

    @initialize(max_attempts=st.integers(1, 3))
    def start(self, max_attempts: int) -> None:
        self.begin(max_attempts)

    # Workers.

    @precondition(lambda self: len(self.workers) < MAX_WORKERS)
    @rule()
    def worker_starts(self) -> None:
        self.serial += 1
        self.workers[self.serial] = Worker()
        self.hear(ev.WorkerStarted, self.serial)

    @precondition(lambda self: self.busy())
    @rule(
        data=st.data(),
        status=st.integers(0, 2),
        busy_ns=st.sampled_from([100, 10_000, MS, 50 * MS]),
        size_bytes=st.sampled_from([0, 100, FLUSH_BYTES]),
    )
    def worker_answers(self, data: st.DataObject, status: int, busy_ns: int, size_bytes: int) -> None:
        number = data.draw(st.sampled_from(self.busy()))
        command = self.workers[number].pieces[0]
        done = None
        if command.piece in self.workers[number].asked and isinstance(command, ev.RunPiece):
            step = self.workers[number].step_of(command)
            done = data.draw(st.integers(0, -(-command.tasks // step) - 1)) * step
        self.answer(number, status, busy_ns, size_bytes, done)

    @precondition(lambda self: any(worker.asked for worker in self.workers.values()))
    @rule(data=st.data())
    def worker_gives_back_what_waits(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from([name for name, worker in self.workers.items() if worker.asked]))
        worker = self.workers[number]
        piece = data.draw(st.sampled_from(sorted(worker.asked)))
        worker.asked.remove(piece)
        (command,) = [command for command in worker.pieces if command.piece == piece]
        worker.pieces.remove(command)
        self.leaves(worker, command, touched=False)
        self.hear(ev.PieceFinished, number, piece, 0, 0, 0, 0)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def worker_is_asked_for(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.jobs)))
        spare = [name for name, worker in self.workers.items() if worker.is_free]
        held = sum(worker.slots - 1 for worker in self.workers.values() if worker.pieces)
        needs_more = self.needs[job][1] > 1 or self.jobs[job][1]
        waits = any(state.waiting for state in self.brain.jobs.values())
        expected = len(spare) > held and not needs_more and not waits
        commands = self.hear(ev.WorkerAsked, job)
        assert expected == any(isinstance(command, ev.LendWorker) for command in commands)

    @precondition(lambda self: self.lent())
    @rule(data=st.data(), busy_ns=st.sampled_from([0, 1_000, 50 * MS]))
    def worker_is_returned(self, data: st.DataObject, busy_ns: int) -> None:
        number = data.draw(st.sampled_from(self.lent()))
        self.workers[number].lent = False
        self.hear(ev.WorkerReturned, number, busy_ns)

    def lent(self) -> list[int]:
        return [number for number, worker in self.workers.items() if worker.lent]

    @precondition(lambda self: self.promising())
    @rule(data=st.data())
    def worker_promises(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.promising()))
        worker = self.workers[number]
        command = worker.pieces[0]
        assert isinstance(command, ev.RunPiece)
        step = worker.step_of(command)
        tasks = data.draw(st.integers(1, -(-command.tasks // step) - 1)) * step
        worker.asked.discard(command.piece)
        worker.pieces[0] = command.replaced(tasks=tasks)
        self.hear(ev.PieceCut, number, command.piece, tasks)

    @precondition(lambda self: self.answering_early())
    @rule(data=st.data(), status=st.integers(0, 1), size_bytes=st.sampled_from([0, 100, FLUSH_BYTES]))
    def worker_answers_early(self, data: st.DataObject, status: int, size_bytes: int) -> None:
        number = data.draw(st.sampled_from(self.answering_early()))
        worker = self.workers[number]
        command = worker.pieces[0]
        assert isinstance(command, ev.RunPiece)
        step = max(command.packet_tasks, 1)
        tasks = data.draw(st.integers(1, (command.tasks - 1) // step)) * step
        worker.pieces[0] = command.replaced(skip=command.skip + tasks, tasks=command.tasks - tasks)
        worker.asked.discard(command.piece)
        self.kept[command.piece] = status
        wanted = command.piece not in worker.orphans
        if wanted:
            self.parcels[command.key].touched = True
        commands = self.hear(ev.PartFinished, number, command.piece, status, MS, size_bytes, tasks)
        assert wanted == any(isinstance(said, ev.KeepPart) for said in commands)
        assert wanted or ev.DropPiece(command.piece) in commands

    def answering_early(self) -> list[int]:
        """Workers that may answer for the first items of what they run."""
        return [
            number
            for number, worker in self.workers.items()
            if worker.pieces
            and isinstance(front := worker.pieces[0], ev.RunPiece)
            and front.tasks > max(front.packet_tasks, 1)
            and not (front.packet_tasks and self.reduces(front))
        ]

    def reduces(self, command: ev.RunPiece) -> bool:
        """Whether a piece is of a job that reduces."""
        return command.key[0] in self.jobs and self.jobs[command.key[0]][0]

    def promising(self) -> list[int]:
        """Workers that may say how far they will go with what they run."""
        return [number for number, worker in self.workers.items() if worker.may_promise]

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), status=st.integers(0, 2), size_bytes=st.sampled_from([0, 100, FLUSH_BYTES]))
    def worker_leaves(self, data: st.DataObject, status: int, size_bytes: int) -> None:
        number = data.draw(st.sampled_from(self.busy()))
        worker = self.workers[number]
        front, *behind = worker.pieces
        worker.pieces, worker.told_to_stop = [front], True
        worker.asked &= {front.piece}
        for command in behind:
            self.leaves(worker, command, touched=False)
        self.hear(ev.WorkerLeaving, number)
        done = None
        if isinstance(front, ev.RunPiece) and front.tasks:
            step = max(front.packet_tasks, 1)
            done = min(data.draw(st.integers(1, -(-front.tasks // step))) * step, front.tasks)
        self.answer(number, status, 1_000, size_bytes, done)

    def answer(
        self, number: int, status: int, busy_ns: int, size_bytes: int, done: int | None = None
    ) -> None:
        worker = self.workers[number]
        command = worker.pieces.pop(0)
        worker.asked.discard(command.piece)
        self.overdue.pop(number, None)
        self.leaves(worker, command, touched=done != 0)
        if done != 0:
            self.kept[command.piece] = status
        commands = self.hear(ev.PieceFinished, number, command.piece, status, busy_ns, size_bytes, done)
        if command.piece in worker.orphans:
            assert ev.DropPiece(command.piece) in commands
            assert not any(isinstance(said, ev.SendResults | ev.RunReduce) for said in commands), (
                "what a forgotten job left behind counts for something"
            )

    def leaves(self, worker: Worker, command: ev.RunPiece | ev.RunReduce, *, touched: bool) -> None:
        """A piece lies no longer at a worker."""
        parcel = self.parcels.get(command.key) if command.piece not in worker.orphans else None
        if parcel is None:
            return
        parcel.touched |= touched
        parcel.at_workers -= isinstance(command, ev.RunPiece)
        if not touched:
            killers = {index for job, index in self.deaths if job == command.key[0]}
            items = range(parcel.first, parcel.first + parcel.tasks)
            parcel.begun = parcel.touched or parcel.at_workers > 0 or not killers.isdisjoint(items)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), known=st.booleans(), exact=st.booleans())
    def worker_dies(self, data: st.DataObject, known: bool, exact: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.workers)))
        running = None
        worker = self.workers.pop(number)
        if worker.pieces:
            command = worker.pieces[0]
            start = command.first + (command.skip if isinstance(command, ev.RunPiece) else 0)
            if known:
                running = data.draw(st.integers(start, start + max(command.tasks, 1) - 1))
            charged = start if running is None or isinstance(command, ev.RunReduce) else running
            exact = exact or not isinstance(command, ev.RunPiece) or command.singly
            if command.piece not in worker.orphans and not worker.told_to_stop:
                item = (command.key[0], charged if exact else start)
                self.deaths[item] = self.deaths.get(item, 0) + exact
        for position, command in enumerate(worker.pieces):
            # Whoever ran too long has failed, and so has who killed too often.
            charged_job = -1 if position or worker.told_to_stop else command.key[0]
            killed = any(
                job == charged_job and deaths >= self.brain.max_attempts
                for (job, _), deaths in self.deaths.items()
            )
            self.leaves(worker, command, touched=killed or (not position and number in self.overdue))
        self.dying = number
        self.hear(ev.WorkerDied, number, running, exact)
        self.dying = None
        self.overdue.pop(number, None)

    @precondition(lambda self: self.looks)
    @rule(data=st.data(), ran=st.sampled_from([0, LIMIT_NS // 2, LIMIT_NS, None]), exact=st.booleans())
    def worker_is_seen(self, data: st.DataObject, ran: int | None, exact: bool) -> None:
        number = self.looks.pop()
        worker = self.workers.get(number)
        if worker is None or not worker.pieces:
            self.hear(ev.WorkerSeen, number, 0, None, 0)
            return
        command = worker.pieces[0]
        start = command.first + (command.skip if isinstance(command, ev.RunPiece) else 0)
        running = data.draw(st.integers(start, start + max(command.tasks, 1) - 1))
        since_ns = 0 if ran is None else self.now_ns - ran
        limited = command.piece not in worker.orphans and self.jobs[command.key[0]][1]
        exact = exact or bool(limited)
        over = limited and isinstance(command, ev.RunPiece) and command.tasks and ran == LIMIT_NS
        if over and since_ns > 0 and not worker.told_to_stop:
            self.overdue[number] = running
        commands = self.hear(ev.WorkerSeen, number, command.key[0], running, since_ns, exact)
        assert (ev.StopWorker(number) in commands) == (number in self.overdue and worker.told_to_stop) or (
            worker.told_to_stop
        )

    @rule(ns=st.sampled_from([1, MS, PATIENCE_NS, CANCEL_GRACE_NS, LIMIT_NS]))
    def time_passes(self, ns: int) -> None:
        self.now_ns += ns
        commands = self.hear(ev.TimePassed)
        for command in commands:
            if isinstance(command, ev.StopWorker):
                worker = self.workers[command.worker]
                assert worker.pieces[0].piece in worker.orphans, "a worker is stopped at what is still wanted"

    # The server.

    @precondition(lambda self: len(self.jobs) < JOBS)
    @rule(
        data=st.data(),
        reduces=st.booleans(),
        limited=st.booleans(),
        priority=st.sampled_from([0, 0, 7, -7]),
        slots=st.sampled_from([1, 1, 2, 3]),
        chunksize=st.sampled_from([1, 1, 2, 7]),
    )
    def job_is_introduced(
        self, data: st.DataObject, reduces: bool, limited: bool, priority: int, slots: int, chunksize: int
    ) -> None:
        job = data.draw(st.sampled_from(sorted(set(range(JOBS)) - self.jobs.keys())))
        self.jobs[job] = (reduces, LIMIT_NS * limited)
        self.needs[job] = (priority, slots)
        self.chunks[job] = chunksize
        self.hear(ev.JobIntroduced, job, reduces, LIMIT_NS * limited, priority, slots, chunksize)

    @precondition(lambda self: self.jobs)
    @rule(
        data=st.data(),
        parcel=st.integers(0, 9),
        attempt=st.integers(1, 2),
        packets=st.integers(1, 3),
        packet_tasks=st.integers(1, 5),
        unit_tasks=st.integers(1, 10),
        short=st.integers(0, 4),
        listed=st.booleans(),
        twice=st.booleans(),
    )
    def parcel_comes(
        self,
        data: st.DataObject,
        parcel: int,
        attempt: int,
        packets: int,
        packet_tasks: int,
        unit_tasks: int,
        short: int,
        listed: bool,
        twice: bool,
    ) -> None:
        key = (data.draw(st.sampled_from(sorted(self.jobs))), parcel, attempt)
        if key in self.parcels:
            return
        if listed:
            units, packet_tasks = ([0], 0) if short == 4 else ([unit_tasks], unit_tasks)
        else:
            if unit_tasks > packet_tasks:
                unit_tasks -= unit_tasks % packet_tasks
            units = list(cut_units(packets, packet_tasks, unit_tasks))
            if units[-1] > short:  # the input ended
                units[-1] -= short
        self.parcels[key] = Parcel(100 * parcel, units, packet_tasks)
        for _ in range(1 + twice):
            self.hear(ev.ParcelReceived, *key, 100 * parcel, units, packet_tasks)

    @precondition(lambda self: self.parcels)
    @rule(data=st.data())
    def parcel_is_asked_back(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.parcels)))
        begun = self.parcels[key].begun
        assert ev.ReturnParcel(key, not begun) in self.hear(ev.ParcelAskedBack, key)

    @precondition(lambda self: any(parcel.tasks for parcel in self.parcels.values()))
    @rule(data=st.data())
    def item_is_cancelled(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, parcel in self.parcels.items() if parcel.tasks)))
        parcel = self.parcels[key]
        index = data.draw(st.integers(parcel.first, parcel.first + parcel.tasks - 1))
        waits = any(piece.is_for(key, index) for piece in self.brain.jobs[key[0]].waiting)
        parcel.cancelled.add(index)
        commands = self.hear(ev.ItemCancelled, key, index)
        assert waits == any(isinstance(command, ev.ReportCancelled) for command in commands)

    @rule(job=st.integers(0, JOBS), parcel=st.integers(10, 12))
    def parcel_that_is_not_here_is_asked_back(self, job: int, parcel: int) -> None:
        assert not self.hear(ev.ParcelAskedBack, (job, parcel, 1))

    @rule()
    def node_is_to_leave(self) -> None:
        self.hear(ev.DrainBegan)
        assert all(parcel.begun for parcel in self.parcels.values())

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), twice=st.booleans())
    def job_is_forgotten(self, data: st.DataObject, twice: bool) -> None:
        self.forget(data.draw(st.sampled_from(sorted(self.jobs))))
        if twice:
            assert not self.hear(ev.JobForgotten, 99)

    def forget(self, job: int) -> None:
        del self.jobs[job]
        dropped = {key for key in self.parcels if key[0] == job}
        self.parcels = {key: parcel for key, parcel in self.parcels.items() if key[0] != job}
        self.deaths = {item: deaths for item, deaths in self.deaths.items() if item[0] != job}
        for number, worker in self.workers.items():
            worker.orphans |= {piece.piece for piece in worker.pieces if piece.key[0] == job}
            if worker.pieces and worker.pieces[0].piece in worker.orphans:
                self.overdue.pop(number, None)
        commands = self.hear(ev.JobForgotten, job)
        assert {command.key for command in commands if isinstance(command, ev.DropParcel)} == dropped

    # What always holds.

    @invariant()
    def books_are_true(self) -> None:
        brain = self.brain
        check_slots(brain)
        assert brain.parcels.keys() == self.parcels.keys()
        assert self.kept.keys() <= brain.pieces.keys(), "a result is kept for nothing"
        assert brain.workers.keys() == self.workers.keys()
        for number, worker in self.workers.items():
            assert [piece.piece for piece in brain.workers[number].pieces] == [
                piece.piece for piece in worker.pieces
            ]
            assert worker.jobs <= self.jobs.keys()
        for number, job in brain.jobs.items():
            assert job.workers == {name for name, worker in self.workers.items() if number in worker.jobs}
            assert job.deaths == {index: n for (name, index), n in self.deaths.items() if name == number}

    def teardown(self) -> None:
        """Whoever is to stop does, workers come, all answer: all ends, and nothing is left."""
        if not hasattr(self, "brain"):
            return
        for number, worker in list(self.workers.items()):
            if worker.told_to_stop:
                del self.workers[number]
                self.dying = number
                self.hear(ev.WorkerDied, number, self.overdue.get(number))
        for number in self.lent():
            self.workers[number].lent = False
            self.hear(ev.WorkerReturned, number, 0)
        while len(self.workers) < MAX_WORKERS:
            self.worker_starts()
        while busy := self.busy():
            for number in busy:
                self.answer(number, 0, 1_000, 100)
                self.books_are_true()
        assert not self.parcels and not self.kept and not self.brain.pieces
        for job in list(self.jobs):
            self.forget(job)
        assert not (self.brain.jobs or self.brain.parcels or self.brain.pieces or len(self.brain._turns))
        assert not self.brain._limits.jobs and not self.brain._roomy._held
        assert not any(worker.pieces or worker.jobs for worker in self.brain.workers.values())


TestSlotsInAnyOrder = SlotsMachine.TestCase
TestSlotsInAnyOrder.settings = ANY_ORDER
