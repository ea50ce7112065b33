"""Workers and parcels around a node's brain: what they know of each other, and what each command must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from achilles.core import slots_events as ev
from achilles.core.slots import Slots
from tests.simulation.books import check_turn, require

MS = 1_000_000
LIMIT_NS = 1_000 * MS
MAX_WORKERS = 4


@dataclass
class Parcel:
    """A parcel as the server knows it."""

    first: int
    units: list[int]
    packet_tasks: int
    answered: list[tuple[int, int]] = field(default_factory=list)
    touched: bool = False  # something of it was run
    at_workers: int = 0  # pieces that lie at one
    begun: bool = False
    refused: bool = False
    cancelled: set[int] = field(default_factory=set)

    @property
    def tasks(self) -> int:
        return sum(self.units)


@dataclass
class Worker:
    """What a worker was given, in order, and what it was taught."""

    pieces: list[ev.RunPiece | ev.RunReduce] = field(default_factory=list)
    orphans: set[int] = field(default_factory=set)  # pieces of jobs that were forgotten since
    jobs: set[int] = field(default_factory=set)
    told_to_stop: bool = False
    slots: int = 1  # that what it runs takes
    asked: set[int] = field(
        default_factory=set
    )  # pieces that it is to give back, as far as they were not begun
    within: set[int] = field(default_factory=set)  # those of them whose slices may be cut

    lent: bool = False

    @property
    def is_free(self) -> bool:
        """Whether it could be lent."""
        return not self.pieces and not self.told_to_stop and not self.lent

    def step_of(self, command: ev.RunPiece) -> int:
        """How many tasks it runs together at least."""
        return 1 if command.piece in self.within else max(command.packet_tasks, 1)

    @property
    def may_promise(self) -> bool:
        """Whether it was asked for the rest of what it runs, and has a rest."""
        front = self.pieces[0] if self.pieces else None
        return (
            isinstance(front, ev.RunPiece) and front.piece in self.asked and front.tasks > self.step_of(front)
        )


class World:
    """Server and workers around the slots of one node, and what they remember."""

    def begin(self, max_attempts: int) -> None:
        self.brain = Slots(max_attempts)
        self.now_ns = 1
        self.serial = 0
        self.workers: dict[int, Worker] = {}
        self.jobs: dict[int, tuple[bool, int]] = {}  # whether it reduces, time limit
        self.needs: dict[int, tuple[int, int]] = {}  # priority, slots
        self.chunks: dict[int, int] = {}
        self.parcels: dict[ev.ParcelKey, Parcel] = {}
        self.kept: dict[int, int] = {}  # piece -> status of the result that is kept
        self.deaths: dict[tuple[int, int], int] = {}
        self.looks: list[int] = []
        self.overdue: dict[int, int] = {}  # worker that was seen to run too long -> item
        self.dying: int | None = None

    def hear(self, kind: Any, *args: Any) -> list[ev.Command]:
        commands = self.brain.handle(kind(self.now_ns, *args))
        for command in commands:
            if isinstance(command, ev.ReportCancelled):
                # Before anything is done about its parcel: that has an answer now.
                parcel = self.parcels[self.key_of(command.piece, commands)]
                assert command.index in parcel.cancelled, "an item that is wanted fails as cancelled"
                parcel.touched = parcel.begun = True
        for command in commands:
            self.obey(command)
        for command in commands:
            if isinstance(command, ev.RunPiece | ev.RunReduce):
                check_turn(self.brain, self.needs[command.key[0]][0])
        return commands

    def key_of(self, piece: int, commands: list[ev.Command]) -> ev.ParcelKey:
        """Whose a piece is, or was before it was sent."""
        if piece in self.brain.pieces:
            return self.brain.pieces[piece].key
        sent = [command for command in commands if isinstance(command, ev.SendResults)]
        (key,) = [command.key for command in sent if piece in [part[0] for part in command.segments]]
        return key

    def obey(self, command: ev.Command) -> None:
        match command:
            case ev.TeachJob(worker, job):
                assert job in self.jobs and job not in self.workers[worker].jobs
                self.workers[worker].jobs.add(job)
            case ev.UnteachJob(worker, job):
                self.workers[worker].jobs.remove(job)
            case ev.RunPiece(worker, _, key, unit, first, skip, tasks, packet_tasks):
                parcel = self.parcels[key]
                assert first == parcel.first + sum(parcel.units[:unit])
                assert skip >= 0 and skip + tasks <= parcel.units[unit]
                if self.jobs[key[0]][0]:
                    assert packet_tasks in (0, max(parcel.packet_tasks, 1))
                else:
                    assert packet_tasks == (0 if self.chunks[key[0]] == 1 else self.chunks[key[0]])
                items = range(first + skip, first + skip + tasks)
                assert parcel.cancelled.isdisjoint(items), "an item is run that was cancelled before"
                parcel.at_workers += 1
                parcel.begun = True
                self.give(worker, command)
            case ev.RunReduce(worker, _, key, _, _, parts):
                assert all(self.kept[part] < 2 for part in parts), "results to be reduced are not there"
                self.give(worker, command)
            case ev.ReportDeath(piece, worker, index, attempts, job):
                assert worker == self.dying
                assert self.deaths.pop((job, index)) >= attempts == self.brain.max_attempts
                self.kept[piece] = 2
            case ev.ReportTimeout(piece, index, limit_ns):
                assert self.dying is not None and self.overdue[self.dying] == index
                assert limit_ns == LIMIT_NS
                self.kept[piece] = 2
            case ev.ReportCancelled(piece, _):
                self.kept[piece] = 2
            case ev.HandBack(worker, piece, within):
                front, *behind = self.workers[worker].pieces
                is_wanted = piece not in self.workers[worker].orphans
                if within:
                    assert not is_wanted or not self.jobs[self.brain.pieces[piece].key[0]][0]
                    self.workers[worker].within.add(piece)
                # Perhaps again: first as one that waits, then as the one that runs.
                if not is_wanted:
                    assert within
                elif piece == front.piece:
                    assert isinstance(front, ev.RunPiece)
                    assert front.tasks > self.workers[worker].step_of(front)
                else:
                    (waits,) = [command for command in behind if command.piece == piece]
                    assert isinstance(waits, ev.RunPiece) and waits.tasks
                self.workers[worker].asked.add(piece)
            case ev.SendResults(key, segments):
                for piece, first, tasks, status, _ in segments:
                    assert self.kept[piece] == status, "a result is sent that is not there"
                    self.parcels[key].answered.append((first, tasks))
                self.check_answers(key)
            case ev.KeepPart(piece, of):
                self.kept[piece] = self.kept.pop(of)
            case ev.DropPiece(piece):
                self.kept.pop(piece, None)
            case ev.ReturnParcel(key, given):
                assert not given or not self.parcels[key].begun, "a parcel is given back and was begun"
                if given:
                    del self.parcels[key]
                else:
                    self.parcels[key].refused = True
            case ev.StopWorker(worker):
                assert not self.workers[worker].told_to_stop
                self.workers[worker].told_to_stop = True
            case ev.LookAt(worker):
                self.looks.append(worker)
            case ev.LendWorker(worker, job):
                assert job in self.workers[worker].jobs and self.workers[worker].is_free
                self.workers[worker].lent = True

    def give(self, worker: int, command: ev.RunPiece | ev.RunReduce) -> None:
        assert command.key[0] in self.workers[worker].jobs, "a worker gets work of a job it does not know"
        assert not self.workers[worker].told_to_stop and not self.workers[worker].lent
        self.workers[worker].pieces.append(command)
        self.workers[worker].slots = self.needs[command.key[0]][1]
        taken = sum(other.slots for other in self.workers.values() if other.pieces)
        assert taken <= MAX_WORKERS, "more tasks run than there are slots for them"

    def check_answers(self, key: ev.ParcelKey) -> None:
        """No item is answered twice; once all are, the parcel is gone."""
        parcel = self.parcels[key]
        at = parcel.first
        for first, tasks in sorted(parcel.answered):
            require(first >= at, f"item {first} is answered twice")
            at = first + tasks
        assert at <= parcel.first + parcel.tasks
        if sum(tasks for _, tasks in parcel.answered) == parcel.tasks and (parcel.tasks or parcel.answered):
            del self.parcels[key]

    def busy(self) -> list[int]:
        return [number for number, worker in self.workers.items() if worker.pieces]
