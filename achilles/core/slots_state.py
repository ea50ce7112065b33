"""What the slots' brain remembers of workers, jobs, parcels and pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import pairwise
from math import inf

from .means import Mean
from .record import Record, made_by
from .slots_events import ParcelKey, RunPiece, RunReduce

__all__ = ["NOBODY", "JobState", "PacketState", "ParcelState", "Piece", "WorkerState", "gather_packets"]

# Work that may wait at a worker behind the piece it runs.
QUEUE_NS = 1_500_000
# A piece longer than this is worth a round trip: it is not queued behind another.
SHORT_PIECE_NS = 4_000_000
# The same where tasks take about as long as each other, so that what waits will not wait for long.
REGULAR_PIECE_NS = 80_000_000
# So many pieces tell whether they do: the longest took no more than so many times the usual.
REGULAR_AFTER_PIECES = 8
REGULAR_SPREAD = 1.5
# How soon an exception is forgotten, at each piece.
FORGET = 0.99
UNKNOWN_TASK_NS = 10_000_000.0
# Pieces at workers are judged anew when tasks prove so many times shorter than they were taken for: the first
# few, run singly, seem to take ten times as long.
MISJUDGED_TIMES = 2
# How long a piece may run until its worker is asked to give back the rest: several times the work that one
# should hold, so that one that is cut well is never asked.
PATIENCE_NS = 10_000_000
# What is left of a piece may run for twice as long before it is asked again, while nobody
# else could run: each time its arguments are sent and loaded again.
LONGEST_PATIENCE_NS = 1_280_000_000
# Whose a piece is that a worker still runs when its job is forgotten.
NOBODY: ParcelKey = (-1, 0, 0)


class Piece(Record):
    """A range of a unit (or, with ``parts``, a packet to be reduced) for one worker."""

    piece: int
    key: ParcelKey
    unit: int
    first: int
    skip: int
    tasks: int
    parts: list[int] | None = None
    work_ns: float = 0.0
    status: int = 0
    busy_us: int = 0
    is_short: bool = False  # as far as was known when a worker got it
    patience_ns: int = 0  # how long it may run before its worker is asked to give back the rest
    loading_ns: int = 0  # about what it costs to send and load its unit
    packet_tasks: int = 0  # where it may be cut: at the ends of packets when its worker reduces, or of slices
    whole_tasks: int = 0  # the same for one that has run for long: 0, anywhere, unless its worker reduces
    singly: bool = False  # whether a worker died somewhere in it, so that the next notes each item

    @property
    def divisible(self) -> bool:
        """Whether its worker could give back some of it."""
        return self.parts is None and self.tasks > max(self.packet_tasks, 1)

    @property
    def has_slices(self) -> bool:
        """Whether it could give back more of it once slices need not stay whole."""
        return self.parts is None and self.packet_tasks > self.whole_tasks and self.tasks > 1

    def holds(self, index: int) -> bool:
        """Whether it is to run this item."""
        return 0 <= index - self.first - self.skip < self.tasks and self.parts is None

    def is_for(self, key: ParcelKey, index: int) -> bool:
        """Whether it is to run this item of this parcel."""
        return self.key == key and self.holds(index)

    def packet_at(self, index: int) -> int:
        """A number that those items have in common that its worker gives back together."""
        return (index - self.first - self.skip) // max(self.whole_tasks, 1)

    def run_at(self, worker: int) -> RunPiece | RunReduce:
        """The command that gives it to a worker."""
        if self.parts is not None:
            return RunReduce(worker, self.piece, self.key, self.first, self.tasks, self.parts)
        return RunPiece(
            worker,
            self.piece,
            self.key,
            self.unit,
            self.first,
            self.skip,
            self.tasks,
            self.packet_tasks,
            self.singly,
        )

    def gave_back(self) -> None:
        """A worker gave back some of it: what is left may run for longer until it is asked again."""
        self.patience_ns = min(max(2 * self.patience_ns, 2 * PATIENCE_NS), LONGEST_PATIENCE_NS)

    def cut_off(self, done: int, shares: int, number: Callable[[], int]) -> list[Piece]:
        """Keep the first items, and make up to so many even pieces of the others."""
        step = max(self.packet_tasks, 1)
        low, end = self.skip + done, self.skip + self.tasks
        self.tasks = done
        steps = -(-(end - low) // step)
        shares = max(min(shares, steps), 1)
        cuts = [min(low + steps * share // shares * step, end) for share in range(shares + 1)]
        return [
            self.replaced(piece=number(), skip=start, tasks=stop - start, busy_us=0)
            for start, stop in pairwise(cuts)
        ]

    def done_early(self, tasks: int, number: int) -> Piece:
        """The first items, which are done; keep the others."""
        done = self.replaced(piece=number, tasks=tasks, work_ns=0.0)
        self.skip += tasks
        self.tasks -= tasks
        return done

    def cut_at(self, edges: Iterable[int], number: Callable[[], int]) -> list[Piece]:
        """The pieces between these indices, as far as it has them."""
        start = self.first + self.skip
        end = start + self.tasks
        cuts = sorted({start, end, *(edge for edge in edges if start < edge < end)})
        return [
            self.replaced(piece=number(), skip=low - self.first, tasks=high - low, singly=False)
            for low, high in pairwise(cuts)
        ]


class PacketState(Record):
    """A packet whose results come from several pieces and have to be reduced together."""

    tasks: int
    missing_tasks: int
    pieces: list[Piece] = made_by(default_factory=list)


class ParcelState(Record):
    """A parcel that is not complete yet."""

    key: ParcelKey
    first: int
    missing_tasks: int
    packet_tasks: int
    units: int
    sent_ns: int = 0  # when results were sent, or else when it came
    tasks: int = 0
    missing_empty: int = 0
    kept_bytes: int = 0
    begun: bool = False  # whether a worker got any of it
    wanted_back: bool = False  # whether the server asked for it when it was begun
    done: list[Piece] = made_by(default_factory=list)
    spread: dict[int, PacketState] = made_by(default_factory=dict)
    cancelled: set[int] | frozenset[int] = frozenset()  # items that are to fail, and did not yet

    def __post_init__(self) -> None:
        self.tasks = self.missing_tasks
        # The one unit of an empty list has no task, and is awaited all the same.
        self.missing_empty = 0 if self.tasks else self.units

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been done."""
        return self.missing_tasks <= 0 and self.missing_empty <= 0

    def is_untouched(self, deaths: Iterable[int], workers: Iterable[WorkerState | None]) -> bool:
        """Whether nothing of it was run, not even to death, and nothing is at one of these workers."""
        end = self.first + self.tasks
        return (
            self.missing_tasks == self.tasks
            and not any(packet.pieces for packet in self.spread.values())
            and not any(self.first <= index < end for index in deaths)
            and not any(piece.key == self.key for worker in workers if worker for piece in worker.pieces)
        )

    def segments(self) -> list[tuple[int, int, int, int, int]]:
        """What is done and was not sent, as `SendResults` says it."""
        return [
            (piece.piece, piece.first + piece.skip, piece.tasks, piece.status, piece.busy_us)
            for piece in self.done
        ]

    def gather(self, piece: Piece) -> list[Piece] | None:
        """Keep a piece of a packet that comes in several; None if it is of another kind.

        Returns:
            The packet's pieces in order if this was the last, else nothing.
        """
        if not self.spread or piece.parts is not None:
            return None
        packet = self.spread.get(self.packet_of(piece.first + piece.skip))
        if packet is None:
            return None
        packet.pieces.append(piece)
        packet.missing_tasks -= piece.tasks
        return [] if packet.missing_tasks else sorted(packet.pieces, key=lambda part: part.first + part.skip)

    def brought_together(self, pieces: list[Piece], number: int) -> Piece:
        """The piece that reduces one packet whose results these are, in order."""
        first = pieces[0].first + pieces[0].skip
        tasks = sum(piece.tasks for piece in pieces)
        whole = Piece(number, self.key, -1, first, 0, tasks, parts=[piece.piece for piece in pieces])
        whole.busy_us = sum(piece.busy_us for piece in pieces)
        return whole

    def packet_of(self, index: int) -> int:
        """Number, within the parcel, of the packet that an item belongs to."""
        return (index - self.first) // self.packet_tasks if self.packet_tasks else 0

    def spread_packet(self, index: int) -> tuple[int, int]:
        """Note that the packet of an item will come in pieces; returns the indices of its ends."""
        packet = self.packet_of(index)
        start = packet * self.packet_tasks
        length = min(self.packet_tasks, self.tasks - start)
        if packet not in self.spread:
            self.spread[packet] = PacketState(length, length)
        return self.first + start, self.first + start + length

    def kept_pieces(self) -> list[Piece]:
        """Pieces whose results wait here."""
        return self.done + [piece for packet in self.spread.values() for piece in packet.pieces]


def gather_packets(first: int, units: list[int], packet_tasks: int) -> dict[int, PacketState]:
    """The packets of a parcel that no single unit holds whole."""
    spread: dict[int, PacketState] = {}
    if not packet_tasks:
        return spread
    tasks = sum(units)
    start = 0
    for length in units:
        # A unit holds whole packets, or lies within one (core/packets.py).
        packet = start // packet_tasks
        packet_length = min(packet_tasks, tasks - packet * packet_tasks)
        if length < packet_length:
            spread.setdefault(packet, PacketState(packet_length, packet_length))
        start += length
    return spread


class JobState(Record):
    """A job as far as this node has seen it."""

    job: int
    reduces: bool
    waiting: deque[Piece] = made_by(default_factory=deque)
    parcels: set[ParcelKey] = made_by(default_factory=set)
    workers: set[int] = made_by(default_factory=set)
    deaths: dict[int, int] = made_by(default_factory=dict)
    task_ns: float | None = None
    judged_ns: float = inf  # what a task was taken for when pieces at workers were judged
    longest_ns: float = 0.0  # of late, per task
    pieces_measured: int = 0
    limit_ns: int = 0
    priority: int = 0
    slots: int = 1  # that a task takes
    chunksize: int = 1  # tasks that stay together
    patient: bool = False  # whether nobody sees a result before the last is there
    expected_ns: float = UNKNOWN_TASK_NS  # what a task is taken to last until one was measured
    has_answered: bool = False  # whether any results were sent
    early: tuple[ParcelKey, set[int]] | None = None  # cancelled items of the next parcel to come
    _task: Mean = made_by(default_factory=Mean)

    @property
    def loose_tasks(self) -> int:
        """Where a piece that its worker does not reduce may be cut while it is short; 0: anywhere."""
        return 0 if self.reduces or self.chunksize == 1 else self.chunksize

    def work_of(self, tasks: int) -> float:
        """Expected work of so many tasks, ns."""
        return tasks * (self.expected_ns if self.task_ns is None else self.task_ns)

    def is_short(self, piece: Piece) -> bool:
        """Whether a piece may be queued behind another, or another behind it."""
        if self.slots > 1:
            return False
        return self.work_of(piece.tasks) <= (REGULAR_PIECE_NS if self.is_regular else SHORT_PIECE_NS)

    @property
    def is_regular(self) -> bool:
        """Whether tasks take about as long as each other."""
        if self.task_ns is None or self.pieces_measured < REGULAR_AFTER_PIECES:
            return False
        return self.longest_ns <= REGULAR_SPREAD * self.task_ns

    def is_misjudged(self) -> bool:
        """Whether tasks were taken for far longer, or not measured, when pieces at workers were judged."""
        if self.task_ns is None or self.task_ns * MISJUDGED_TIMES > self.judged_ns:
            return False
        self.judged_ns = self.task_ns
        return True

    def measure(self, tasks: int, busy_ns: float) -> None:
        """Learn from a finished piece how long a task takes."""
        self._task.add(busy_ns, tasks)
        self.task_ns = self._task.value
        self.longest_ns = max(busy_ns / tasks, FORGET * self.longest_ns)
        self.pieces_measured += 1


class WorkerState(Record):
    """A worker and the pieces that lie there, the running one first."""

    worker: int
    pieces: deque[Piece] = made_by(default_factory=deque)
    jobs: set[int] = made_by(default_factory=set)
    work_ns: float = 0.0
    stopping: bool = False
    lent_to: int | None = None  # the job that has it to itself
    overdue: tuple[int, int] | None = None  # piece and item for which it is being stopped
    look_at_ns: int = 0  # when to see how long its item runs already
    began_ns: int = 0  # when it came to its first piece
    asked_back: bool = False  # whether it was asked to give back the rest of that piece
    asked_within: bool = False  # and the rest of the slice
    slots: int = 1  # that each task takes which it runs
    is_late: bool = False  # whether that piece runs for so long that nothing should wait behind it

    @property
    def is_free(self) -> bool:
        """Whether it has nothing to do, and may get something."""
        return not self.pieces and not self.stopping and self.lent_to is None

    def may_queue(self) -> bool:
        """Whether something short may wait here behind what runs."""
        runs = self.pieces[0]
        return self.work_ns - runs.work_ns < QUEUE_NS and runs.is_short and not self.is_late

    def judge_anew(self, job: JobState) -> float:
        """Correct what the job's pieces are taken for; returns by how much work that is more."""
        more_ns = 0.0
        for piece in self.pieces:
            if piece.key[0] == job.job:
                more_ns -= piece.work_ns
                piece.work_ns = job.work_of(piece.tasks)
                piece.is_short = job.is_short(piece)
                more_ns += piece.work_ns
        self.work_ns += more_ns
        return more_ns

    def leave(self) -> list[Piece]:
        """Keep the first piece, which was run, and get no more; the others, the last first."""
        self.stopping = True
        behind = [self.pieces.pop() for _ in range(len(self.pieces) - 1)]
        self.work_ns -= sum(piece.work_ns for piece in behind)
        return behind

    def take(self, piece: Piece) -> None:
        """Remove a finished piece; workers answer in order, so it is nearly always the first."""
        if self.pieces[0] is piece:
            self.pieces.popleft()
        else:
            self.pieces.remove(piece)
        self.work_ns = self.work_ns - piece.work_ns if self.pieces else 0.0
