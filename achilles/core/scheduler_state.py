"""What the scheduler remembers of nodes and jobs, and the arithmetic of room.

Work is measured in nanoseconds of one slot. Until the first result of a job came back, a task of it
is taken to last `UNKNOWN_TASK_NS`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import ProtocolError
from .means import Mean, without_units
from .packets import packet_length
from .promised import Promised, first_packets
from .record import Record, made_by
from .scheduler_events import (
    MAX_EARLY_CANCELS,
    MAX_JOB_BYTES,
    CancelItem,
    ItemCancelled,
    JobSubmitted,
    PythonVersion,
)
from .scheduler_parcels import ParcelState

if TYPE_CHECKING:
    from .groups import Group

__all__ = ["MAX_JOBS_PER_NODE", "MAX_OPEN_DEMANDS", "MAX_UNASKED", "JobState", "NodeState"]

# Work lying at a node, per slot. Long against a round trip, short against a user's patience.
WINDOW_NS = 30_000_000
# What is asked for may be as if that were longer, while a job has much left to do.
LONGEST_WINDOW_NS = 300_000_000
# And this where no other node could run it: nothing need be left for those.
LONGEST_ONLY_WINDOW_NS = 900_000_000
# A window is filled by so many parcels: one runs, one waits, one is on its way.
PARCELS_PER_WINDOW = 3
UNKNOWN_TASK_NS = 10_000_000.0
# Tasks to ask for while nobody knows how long they take, of a job that only one node can run.
FIRST_TASKS = 2**14
# Of so many, it is given half first, unless that is expected to be less work for each slot.
HALVED_TASKS = 4096
HALVED_NS = 300_000
# A slot gets this part of its even share of what is left at a time, once it is known how long tasks take.
GUIDED_SHARES = 4
# A node that has no other beside it is asked for all that is left of short tasks, if that is less than so
# many times what it would be asked for: the little that stays costs another round trip.
ALL_TIMES = 1.5
SHORT_TASK_NS = 20_000
# Work per slot below which a node is done before anything could be moved to another.
WORTH_MOVING_NS = 10_000_000
# Below this the measurement says more about the clock than about the task.
LEAST_TASK_NS = 20.0
# A job may have so many demands unanswered; more are made as these are answered.
MAX_OPEN_DEMANDS = 64
# A node that is full may still take one parcel of a job that has nothing there, while it serves
# fewer jobs than this.
MAX_JOBS_PER_NODE = 8
# Parcels that nobody asked for, which a controller may send while it finds a lost server again.
MAX_UNASKED = 64
# How much longer than the clock says a node's slots may claim to have been busy.
BUSY_SLACK_NS = 1e9


class JobState(Record):
    """One user call."""

    job: int
    controller: int
    chunksize: int
    python: PythonVersion | None
    most_bytes: int = MAX_JOB_BYTES  # of payload lying at nodes
    speculate: bool = False
    priority: int = 0
    patterns: tuple[str, ...] = ()  # of the names of nodes that may run it; none: all
    slots: int = 1  # that a task takes
    group: Group | None = None  # jobs like this one, if it is not like most
    parcels: dict[int, ParcelState] = made_by(default_factory=dict)
    lost: deque[int] = made_by(default_factory=deque)  # parcels that need another node
    open_demands: dict[int, int] = made_by(default_factory=dict)  # node -> serial of the demand
    asked: int = 0  # demands that no new parcel has answered yet, also of nodes that are gone
    unasked: int = 0  # parcels that came without one
    nodes: set[int] = made_by(default_factory=set)  # nodes it was introduced to
    calls_at: int = -1  # the node that its single calls go to
    stalled: bool = False
    input_ended: bool = False
    task_ns: float | None = None
    task_bytes: float = 0.0
    bytes_out: int = 0
    tasks_done: int = 0
    tasks_failed: int = 0
    tasks: int = 0  # in all, where that was said
    expected_ns: float | None = None  # how long a task is said to take
    last_parcel: int = -1  # the newest that came
    tasks_came: int = 0  # in parcels, each counted once
    promised: Promised = made_by(default_factory=Promised)
    early: tuple[tuple[int, int], set[int]] | None = None  # cancelled items of an attempt that is to come
    _task: Mean = made_by(default_factory=Mean)

    @classmethod
    def submitted(cls, event: JobSubmitted) -> JobState:
        """A job as it was announced."""
        job = cls(event.job, event.controller, event.chunksize, event.python)
        job.most_bytes, job.speculate, job.tasks = event.most_bytes, event.speculate, event.tasks
        job.priority, job.patterns, job.slots = event.priority, event.nodes, event.slots
        job.promised, job.expected_ns = Promised(event.promised), event.expected_ns
        return job

    def wants_node(self) -> bool:
        """Whether it would use room on a node now."""
        if self.lost:
            return True
        return (
            not self.input_ended
            and not self.stalled
            and len(self.open_demands) < MAX_OPEN_DEMANDS
            and self.bytes_out < self.most_bytes
        )

    def attempts(self) -> list[ParcelState]:
        """All live attempts of all parcels."""
        return [one for parcel in self.parcels.values() for one in (parcel, parcel.twin) if one is not None]

    def find(self, number: int, attempt: int) -> ParcelState | None:
        """A live attempt of a parcel; or its newest, when that one is not live."""
        parcel = self.parcels.get(number)
        if parcel is not None and parcel.twin is not None and parcel.twin.attempt == attempt:
            return parcel.twin
        return parcel

    def cancelled_at(self, event: ItemCancelled) -> list[CancelItem]:
        """Where an item was cancelled: at one node, or none yet.

        Raises:
            ProtocolError: The parcel does not hold the item, or too many are to be kept.
        """
        parcel = self.find(event.parcel, event.attempt)
        if parcel is None or not parcel.sent:
            self._keep(event)
        elif parcel.attempt == event.attempt:
            if not parcel.ranges.first <= event.index < parcel.ranges.end:
                raise ProtocolError(f"item {event.index} was cancelled, and is not in parcel {event.parcel}")
            return [CancelItem(parcel.node, self.job, event.parcel, event.attempt, event.index)]
        return []

    def _keep(self, event: ItemCancelled) -> None:
        attempt = event.parcel, event.attempt
        if self.early is None or self.early[0] != attempt:
            self.early = attempt, {event.index}
            return
        if len(self.early[1]) >= MAX_EARLY_CANCELS:
            raise ProtocolError(
                f"more than {MAX_EARLY_CANCELS} items of parcel {event.parcel} were cancelled"
            )
        self.early[1].add(event.index)

    def cancelled_before(self, parcel: ParcelState) -> list[CancelItem]:
        """What its node is told before it gets a parcel: the items that it need not run."""
        if self.early is None or self.early[0] != (parcel.parcel, parcel.attempt):
            return []
        indices, self.early = self.early[1], None
        here = sorted(index for index in indices if parcel.ranges.first <= index < parcel.ranges.end)
        return [CancelItem(parcel.node, self.job, parcel.parcel, parcel.attempt, index) for index in here]

    def count(self, parcel: ParcelState, tasks: int, failed: int) -> None:
        """Count what was done; of two attempts, only what the older one does."""
        if self.parcels[parcel.parcel] is parcel:
            self.tasks_done += tasks
            self.tasks_failed += failed

    def won(self, winner: ParcelState, loser: ParcelState) -> None:
        """Count what the newer attempt has done instead of the older one's, if that has lost."""
        if self.parcels[winner.parcel] is loser:
            self.tasks_done += loser.missing_tasks - winner.missing_tasks
            self.tasks_failed += winner.failed - loser.failed

    def answered(self, parcel: int) -> bool:
        """Count a new parcel as the answer to a demand; if there was none, it is asked for again later.

        Raises:
            ProtocolError: Too many came that nobody asked for.
        """
        if self.asked:
            self.asked -= 1
            return True
        self.unasked += 1
        if self.unasked > MAX_UNASKED:
            raise ProtocolError(f"parcel {parcel} was not asked for, like {MAX_UNASKED} before it")
        return False

    def work_of(self, tasks: int) -> float:
        """Expected work of so many tasks, ns of one slot."""
        return tasks * max(self.task_ns or UNKNOWN_TASK_NS, LEAST_TASK_NS) * self.slots

    def measure(self, tasks: int, busy_ns: float, units: int) -> bool:
        """Learn from finished tasks how long one takes; they came in so many units.

        Returns:
            Whether long parcels may lie at nodes that were taken for far more, or less, than they are.
        """
        is_first = self.task_ns is None and self.expected_ns is not None
        self._task.add(without_units(busy_ns, units), tasks)
        self.task_ns = self._task.value
        return is_first

    def reweigh(self, nodes: Mapping[int, NodeState]) -> float:
        """Correct what its parcels at nodes are taken for; returns by how much work that is more."""
        return sum(
            nodes[parcel.node].reweigh(self, parcel)
            for parcel in self.attempts()
            if parcel.node in nodes and nodes[parcel.node].parcels.get((self.job, parcel.parcel)) is parcel
        )

    def begin_again(self, parcel: ParcelState) -> None:
        """Nothing of a parcel is done, and it is nowhere."""
        self.count(parcel, parcel.missing_tasks - parcel.tasks, -parcel.failed)
        parcel.missing_tasks, parcel.failed = parcel.tasks, 0
        parcel.sent = False
        parcel.asked_back_for = None

    def can_redraw(self, parcel: ParcelState) -> bool:
        """Whether the controller can draw again what a parcel holds: the end of the input, never begun."""
        is_last = self.input_ended and parcel.parcel == self.last_parcel
        return is_last and parcel.attempt == 1 and not parcel.losses and self.expected_ns is not None

    def redraw(self, parcel: ParcelState) -> None:
        """Forget the last parcel; what it holds comes again, in others."""
        del self.parcels[parcel.parcel]
        self.tasks_came = max(self.tasks_came - parcel.tasks, 0)
        self.input_ended, self.expected_ns = False, None

    def weigh(self, parcel: int, tasks: int, size_bytes: int) -> None:
        """Learn from a new parcel how large one argument is, and how many are left."""
        self.last_parcel = max(self.last_parcel, parcel)
        self.tasks_came = min(self.tasks_came + tasks, self.tasks)
        size = size_bytes / max(tasks, 1)
        self.task_bytes = 0.8 * self.task_bytes + 0.2 * size if self.task_bytes else size


class NodeState(Record):
    """One machine's agent."""

    node: int
    cpu_count: int
    python: PythonVersion
    alone: bool = False  # there will never be another, so nobody else could run what lies here
    names: tuple[str, ...] = ()  # and addresses
    shares_slots: bool = True  # whether it can keep several slots for one task
    takes_calls: bool = True  # whether it knows single calls
    groups: tuple[Group, ...] = ()  # whose jobs it may run
    draining: bool = False
    lent: int = 0  # slots that single calls have had for a while
    parcels: dict[tuple[int, int], ParcelState] = made_by(default_factory=dict)
    parcels_of: dict[int, int] = made_by(default_factory=dict)  # job -> parcels here
    work_ns: float = 0.0
    reserved: dict[int, float] = made_by(default_factory=dict)  # job -> work asked for
    reserved_ns: float = 0.0
    jobs: set[int] = made_by(default_factory=set)  # introduced here
    # Jobs whose single calls come here, or did until they ended.
    callers: set[int] = made_by(default_factory=set)
    tasks_done: int = 0
    window_ns: float = 0.0  # work that may lie here
    full_ns: float = 0.0  # work from which on there is no room for any job
    slots_due: int = 0  # that the tasks lying here take, or would if there were so many

    def __post_init__(self) -> None:
        self.window_ns = float(self.cpu_count * WINDOW_NS)
        self.full_ns = self.window_ns * (PARCELS_PER_WINDOW - 1) / PARCELS_PER_WINDOW

    def lend(self, slots: int) -> None:
        """So many slots have single calls now."""
        if slots > self.cpu_count:
            raise ProtocolError(f"calls are said to have {slots} slots of a node that has {self.cpu_count}")
        self.lent = slots

    @property
    def takes_nothing(self) -> bool:
        """Whether it is not to be sent anything now: it leaves, or calls have all its slots."""
        return self.draining or self.lent >= self.cpu_count

    @property
    def is_idle(self) -> bool:
        """Whether nothing lies here or is on its way, and something may come."""
        return not self.parcels and not self.reserved and not self.takes_nothing

    def has_stock(self) -> bool:
        """Whether parcels wait here that an idle node would finish sooner, or wait for calls."""
        if self.lent >= self.cpu_count:
            return bool(self.parcels)
        return len(self.parcels) > 1 and self.work_ns > self.cpu_count * WORTH_MOVING_NS

    def task_slots(self, slots: int) -> int:
        """How many tasks that take so many slots each can run here at once."""
        if slots == 1:
            return self.cpu_count
        return self.cpu_count // slots if self.shares_slots else 0

    def most_busy_ns(self, parcel: ParcelState, now_ns: int) -> float:
        """As long as the slots here can have been busy with a parcel, whatever the node says."""
        return (now_ns - parcel.sent_ns) * self.cpu_count + BUSY_SLACK_NS

    def has_room(self) -> bool:
        """Whether any job may add a parcel."""
        if self.lent >= self.cpu_count:
            return False
        if self.work_ns + self.reserved_ns < self.full_ns or len(self.parcels) + len(self.reserved) < 2:
            return True
        # However long tasks are, a slot that has none is room.
        return not self.reserved and self.slots_due + self.lent < self.cpu_count

    def has_room_for_another(self) -> bool:
        """Whether a job that has nothing here may add one parcel even though the node is full."""
        return self.lent < self.cpu_count and len(self.parcels_of) + len(self.reserved) < MAX_JOBS_PER_NODE

    def may_add(self, job: JobState, has_room: bool) -> bool:
        """Whether this job may add a parcel where there is room, or else room for who has nothing here."""
        if not self.may_run(job) or (self.node in job.open_demands and not job.lost):
            return False
        return has_room or (job.job not in self.parcels_of and job.job not in self.reserved)

    def may_begin(self, job: JobState) -> bool:
        """Whether this node may run the job, and calls have left it enough slots for a task."""
        return self.may_run(job) and job.slots <= self.cpu_count - self.lent

    def may_run(self, job: JobState) -> bool:
        """Whether this node has what the job needs."""
        if job.group is None:
            return job.python is None or job.python == self.python
        return job.group in self.groups

    def packets_for(self, job: JobState, cpu_count: int, sharing_jobs: int, slots: int) -> int:
        """How many packets of the job to ask for.

        Args:
            job: Whose.
            cpu_count: How many of its tasks run here at once.
            sharing_jobs: How many jobs want room.
            slots: How many of its tasks all nodes that could run it can run at once.
        """
        packet_tasks = packet_length(cpu_count, job.chunksize)
        # However long tasks are, parts of this will not be what the others wait for in the end.
        even_tasks = (job.tasks - job.tasks_came) * cpu_count / slots
        if job.task_ns is None:
            if not self.alone:
                behind_ns = (job.expected_ns or 0.0) if job.job in self.parcels_of else 0.0
                return first_packets(job.tasks - job.tasks_came, cpu_count, slots, packet_tasks, behind_ns)
            # Some workers have something to do while the caller draws the rest.
            half = job.tasks >= HALVED_TASKS and not job.parcels
            if half and job.expected_ns is not None:
                half = job.tasks * job.expected_ns > cpu_count * HALVED_NS
            most_tasks = min(FIRST_TASKS, job.tasks // 2) if half else FIRST_TASKS
            return max(most_tasks // packet_tasks, 1)
        # However many jobs there are, so many at a time fill the window; the others have other turns. It
        # is a share of the whole window: of what is free when a node is nearly full, it would be one lone
        # packet, which costs as much to decide and to move as a long parcel does.
        sharing = max(PARCELS_PER_WINDOW, min(sharing_jobs, MAX_JOBS_PER_NODE))
        task_ns = max(job.task_ns, LEAST_TASK_NS) * job.slots
        # While much is left, longer parcels cost less, and nobody waits for them in the end.
        sole = cpu_count >= slots and even_tasks > 0  # nobody else is there to run it
        guided, longest_ns = (1, LONGEST_ONLY_WINDOW_NS) if sole else (GUIDED_SHARES, LONGEST_WINDOW_NS)
        left_ns = min(even_tasks * task_ns / guided, self.cpu_count * longest_ns)
        tasks = max(self.window_ns, left_ns) / sharing / task_ns
        # Slow start: never ask for much more than the job has shown it can do.
        if not self.alone:
            proven_tasks = max(4.0 * (job.tasks_done + packet_tasks), even_tasks / GUIDED_SHARES)
            if sole:
                # Who comes now could hardly take anything of so little.
                proven_tasks = max(proven_tasks, cpu_count * WORTH_MOVING_NS / task_ns)
            tasks = min(tasks, proven_tasks)
            if sole and task_ns < SHORT_TASK_NS and even_tasks < ALL_TIMES * tasks:
                tasks = even_tasks
        if job.task_bytes:
            tasks = min(tasks, (job.most_bytes - job.bytes_out) / 4 / job.task_bytes)
        return max(1, int(tasks / packet_tasks))

    def put(self, job: JobState, parcel: ParcelState) -> None:
        """Account a parcel that is on its way here."""
        parcel.node = self.node
        parcel.work_ns = job.work_of(parcel.missing_tasks)
        self.parcels[job.job, parcel.parcel] = parcel
        self.parcels_of[job.job] = self.parcels_of.get(job.job, 0) + 1
        self.work_ns += parcel.work_ns
        parcel.slots_due = parcel.missing_tasks * job.slots
        self.slots_due += parcel.slots_due
        job.bytes_out += parcel.size_bytes

    def reweigh(self, job: JobState, parcel: ParcelState) -> float:
        """Correct what a parcel here is taken for; returns by how much work that is more."""
        more_ns = job.work_of(parcel.missing_tasks) - parcel.work_ns
        parcel.work_ns += more_ns
        self.work_ns += more_ns
        return more_ns

    def take_off(self, job: JobState, parcel: ParcelState) -> None:
        """Account a parcel that is done, lost or dropped."""
        del self.parcels[job.job, parcel.parcel]
        here = self.parcels_of[job.job] - 1
        if here:
            self.parcels_of[job.job] = here
        else:
            del self.parcels_of[job.job]
        # An empty node starts from zero, so that rounding never adds up.
        self.work_ns = max(self.work_ns - parcel.work_ns, 0.0) if self.parcels else 0.0
        self.slots_due -= parcel.slots_due
        job.bytes_out -= parcel.size_bytes

    def next_begins(self, now_ns: int) -> None:
        """A parcel is done; the one that has been here longest had to wait until now, if it ever did."""
        parcel = next(iter(self.parcels.values()), None)
        if parcel is not None and parcel.due_ns == parcel.sent_ns:
            parcel.due_ns = now_ns

    def progressed(self, parcel: ParcelState, tasks: int) -> float:
        """Account tasks of a parcel here that are done; returns the work they were taken for, ns."""
        done_ns = parcel.work_ns * min(tasks / max(parcel.missing_tasks, 1), 1.0)
        parcel.work_ns -= done_ns
        freed = parcel.slots_due * tasks // max(parcel.missing_tasks, 1)
        parcel.slots_due -= freed
        self.slots_due -= freed
        parcel.missing_tasks -= tasks
        self.work_ns -= done_ns
        self.tasks_done += tasks
        return done_ns

    def reserve(self, job: JobState, work_ns: float) -> None:
        """Keep room for a parcel that was asked for."""
        self.reserved[job.job] = work_ns
        self.reserved_ns += work_ns

    def unreserve(self, job: JobState) -> float:
        """Give that room back; returns how much it was (0.0: none)."""
        work_ns = self.reserved.pop(job.job, 0.0)
        self.reserved_ns = self.reserved_ns - work_ns if self.reserved else 0.0
        return work_ns
