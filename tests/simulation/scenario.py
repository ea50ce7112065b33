"""What a simulated run consists of, drawn from one seed.

A scenario says everything that is decided beforehand: machines, networks, jobs, and the faults that
will happen. What remains to chance (durations, jitter) comes from the same seed, in the order in which
the world asks for it, so a seed always plays the same run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

MS = 1_000_000
SECOND = 1_000 * MS
MIB = 1024 * 1024


@dataclass
class Cut:
    """The network between a peer and the server fails, one way or both, and both see it later."""

    at_ns: int
    up: bool = True  # what the peer says is lost
    down: bool = True  # what the server says is lost
    server_notices_ns: int = MS
    peer_notices_ns: int = MS
    back_ns: int | None = MS  # after it noticed, the peer dials again; None: never


@dataclass
class Restart:
    """The server is killed, and started again."""

    at_ns: int
    down_ns: int


@dataclass
class NodePlan:
    """One machine, and what happens to it."""

    node: int
    cpu_count: int
    python: tuple[int, int] = (3, 11)
    join_ns: int = 0
    latency_ns: int = MS // 10
    slowness: float = 1.0
    lost_ns: int | None = None  # the machine stops for good
    cuts: list[Cut] = field(default_factory=list)
    drain_ns: int | None = None
    grace_ns: int = SECOND  # after it began to drain, it leaves
    kills_ns: list[int] = field(default_factory=list)  # a worker is killed at these times
    # When single calls borrow a worker, and for how long; None: for ever.
    calls: list[tuple[int, int | None]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    shares_slots: bool = True


@dataclass
class JobPlan:
    """One user call. ``tasks`` is None for an iterable without end."""

    job: int
    controller: int
    tasks: int | None
    submit_ns: int = 0
    chunksize: int = 1
    lists: list[int] | None = None
    ordered: bool = True
    reduces: bool = False
    python: tuple[int, int] | None = None
    weight: float = 1.0
    task_ns: float = MS
    spread: float = 0.3
    task_bytes: int = 100
    result_bytes: int = 100
    speculate: bool = False
    says_tasks: bool = False  # whether the server is told how many there are
    draw_ns: float = 500.0
    read_ns: float = 10_000.0
    budget_bytes: int = 64 * MIB
    killers: frozenset[int] = frozenset()
    hangs: frozenset[int] = frozenset()  # items without end
    limit_ns: int = 0  # how long an item may run
    failing: int = 0  # every so many items raises
    stop_reading_after: int | None = None  # parcels; then the reader stands still for good
    leave_after: int | None = None  # parcels; then the reader leaves
    cancel_ns: int | None = None
    priority: int = 0
    nodes: tuple[str, ...] = ()
    slots: int = 1

    @property
    def largest_packet(self) -> int:
        """How many tasks the largest packet has."""
        return max(max(self.lists or [0]), 8 * self.chunksize)

    def may_run_on(self, node: NodePlan) -> bool:
        """Whether a machine has what it needs; said here again, in other words than the brain's."""
        names = [name.lower() for name in node.names]
        named = not self.nodes or any(fnmatchcase(name, of.lower()) for name in names for of in self.nodes)
        fits = self.slots == 1 or (node.shares_slots and self.slots <= node.cpu_count)
        return named and fits and self.python in (None, node.python)

    leave_every: int = 0  # a worker that has run so many of its items leaves
    cancels: list[tuple[int, int]] = field(default_factory=list)  # when, which item

    @property
    def patient(self) -> bool:
        """Whether nobody looks at results before the end: of every other job that has one."""
        return bool(self.job % 2) and self.tasks is not None and self.leave_after is None

    @property
    def sized(self) -> bool:
        """Whether it is over a list or the like, which tells how long it is."""
        return self.job % 2 == 0 and self.lists is None and self.tasks is not None

    @property
    def expected_ns(self) -> float | None:
        """What a task is expected to take: nothing, what it will take, a thousandth of that, or far more."""
        share = (None, 1e-3, 1.0, 100.0)[self.job // 2 % 4]
        return None if share is None or not self.sized else self.task_ns * share

    @property
    def cancelled(self) -> set[int]:
        """The items that are cancelled at some time."""
        return {index for _, index in self.cancels}


@dataclass
class ControllerPlan:
    """One client, and when it is lost."""

    controller: int
    latency_ns: int = MS // 10
    lost_ns: int | None = None
    cuts: list[Cut] = field(default_factory=list)


@dataclass
class Scenario:
    """A whole run."""

    seed: int
    nodes: list[NodePlan]
    controllers: list[ControllerPlan]
    jobs: list[JobPlan]
    max_attempts: int = 3
    restarts: list[Restart] = field(default_factory=list)


def small(seed: int) -> Scenario:
    """A few machines and jobs, with every kind of fault."""
    rng = random.Random(seed)
    calm = rng.random() < 0.25
    pythons = [(3, 11)] if rng.random() < 0.7 else [(3, 11), (3, 12)]
    nodes = [_node(rng, number, pythons, calm) for number in range(rng.choice([1, 1, 2, 3, 5]))]
    if not calm and rng.random() < 0.7:
        # Mostly somebody is left to do the work.
        nodes.append(NodePlan(len(nodes), rng.randint(1, 4), rng.choice(pythons), rng.randrange(SECOND)))
    controllers = [
        ControllerPlan(
            number,
            rng.choice([0, MS // 20, MS, 20 * MS]),
            None if calm or rng.random() < 0.9 else rng.randrange(300 * MS),
            [] if calm or rng.random() < 0.85 else [_cut(rng)],
        )
        for number in range(rng.choice([1, 1, 2]))
    ]
    jobs = [
        _job(rng, number, rng.choice(controllers).controller, pythons, calm)
        for number in range(rng.choice([1, 1, 2, 3]))
    ]
    extra = random.Random(-1 - seed)
    for job in jobs:
        _leave_and_cancel(extra, job)
    restarts = []
    if not calm and rng.random() < 0.25:
        restarts = [
            Restart(rng.randrange(300 * MS), rng.choice([MS, 50 * MS, 400 * MS]))
            for _ in range(rng.choice([1, 1, 2]))
        ]
    scenario = Scenario(seed, nodes, controllers, jobs, rng.choice([2, 3, 3]), restarts)
    _give_needs(scenario)
    return scenario


def _give_needs(scenario: Scenario) -> None:
    """Names for machines; and in half of the worlds priorities, and jobs that not every machine may run."""
    rng = random.Random(~scenario.seed)
    for node in scenario.nodes:
        name = rng.choice(["alice", "Bob", "gpu"])
        name = f"{name}{node.node}" if rng.random() < 0.7 else name
        node.names = (name, f"10.0.{node.node % 2}.{node.node}")
        node.shares_slots = rng.random() < 0.9
    if rng.random() < 0.5:
        return
    for job in scenario.jobs:
        job.priority = rng.choice([0, 0, 0, 5, 5, -3, 1000])
        job.nodes = rng.choice([(), (), (), ("gpu*",), ("a*", "BOB"), ("10.0.0.*",), ("nobody", "bob?")])
        job.slots = rng.choice([1, 1, 1, 2, 3, 4])


def _cut(rng: random.Random, begin_ns: int = 0) -> Cut:
    up, down = rng.choice([(True, True), (True, True), (True, False), (False, True)])
    return Cut(
        begin_ns + rng.randrange(1, 200 * MS),
        up,
        down,
        server_notices_ns=rng.choice([0, MS, 100 * MS]),
        peer_notices_ns=rng.choice([0, MS, 100 * MS]),
        back_ns=rng.choice([MS, MS, 200 * MS]),
    )


def _node(rng: random.Random, number: int, pythons: list[tuple[int, int]], calm: bool) -> NodePlan:
    node = NodePlan(
        number,
        rng.choice([1, 2, 3, 4, 8]),
        rng.choice(pythons),
        join_ns=rng.choice([0, 0, rng.randrange(200 * MS)]),
        latency_ns=rng.choice([0, MS // 20, MS, 30 * MS]),
        slowness=rng.choice([1.0, 1.0, 1.3, 8.0]),
    )
    if calm:
        return node
    if rng.random() < 0.35:
        if rng.random() < 0.6:
            node.lost_ns = node.join_ns + rng.randrange(1, 200 * MS)
        else:
            node.cuts = [_cut(rng, node.join_ns) for _ in range(rng.choice([1, 1, 2, 4]))]
            if rng.random() < 0.3:
                node.cuts[-1].back_ns = None
    elif rng.random() < 0.2:
        node.drain_ns = node.join_ns + rng.randrange(1, 100 * MS)
        node.grace_ns = rng.choice([0, 20 * MS, SECOND])
    node.kills_ns = [node.join_ns + rng.randrange(150 * MS) for _ in range(rng.choice([0, 0, 1, 4]))]
    # What needs all slots of a node could wait for such a call as long as for any.
    longest = None if node.cpu_count == 1 else SECOND
    for _ in range(rng.choice([0, 0, 2, 9])):
        node.calls.append((node.join_ns + rng.randrange(300 * MS), rng.choice([MS, 100 * MS, longest])))
    return node


def _job(
    rng: random.Random, number: int, controller: int, pythons: list[tuple[int, int]], calm: bool
) -> JobPlan:
    tasks = rng.choice([0, 1, 7, 30, 90])
    job = JobPlan(
        number,
        controller,
        tasks,
        submit_ns=rng.choice([0, rng.randrange(50 * MS)]),
        chunksize=rng.choice([1, 1, 2, 5, 40]),
        ordered=rng.random() < 0.5,
        reduces=rng.random() < 0.4,
        python=rng.choice(pythons) if len(pythons) > 1 and rng.random() < 0.6 else None,
        weight=rng.choice([1.0, 1.0, 3.0]),
        task_ns=rng.choice([1_000.0, 50_000.0, 2.0 * MS, 20.0 * MS]),
        spread=rng.choice([0.0, 0.3, 1.5]),
        task_bytes=rng.choice([0, 100, MIB, 20 * MIB]),
        result_bytes=rng.choice([0, 100, MIB]),
        draw_ns=rng.choice([100.0, 100.0, 3.0 * MS, 150.0 * MS if tasks < 20 else 100.0]),
        read_ns=rng.choice([1_000.0, 20.0 * MS]),
        budget_bytes=rng.choice([2 * MIB, 64 * MIB]),
        failing=rng.choice([0, 0, 5]),
        speculate=rng.random() < 0.3,
        says_tasks=rng.random() < 0.5,
    )
    if rng.random() < 0.25:
        job.lists = [rng.choice([0, 1, 3, 10, 25]) for _ in range(rng.choice([0, 1, 4, 10]))]
        job.tasks = tasks = sum(job.lists)
    if calm:
        return job
    if tasks and rng.random() < 0.3:
        job.killers = frozenset(rng.randrange(tasks) for _ in range(rng.choice([1, 1, 3])))
    if tasks and rng.random() < 0.2:
        # Long against every honest item, so that only those without end are over it.
        job.limit_ns = int(job.task_ns * 100) + 5 * MS
        job.spread = min(job.spread, 0.3)
        job.hangs = frozenset(rng.randrange(tasks) for _ in range(rng.choice([0, 1, 1, 3]))) - job.killers
        return job
    chance = rng.random()
    if chance < 0.1:
        job.cancel_ns = job.submit_ns + rng.randrange(300 * MS)
        if rng.random() < 0.5:
            job.hangs = frozenset([rng.randrange(tasks or 1)])
    elif chance < 0.2:
        job.tasks = None if job.lists is None else job.tasks
        job.leave_after = rng.randrange(1, 5)
    elif chance < 0.25:
        job.stop_reading_after = rng.randrange(3)
        job.tasks = None if job.lists is None else job.tasks
    return job


def _leave_and_cancel(rng: random.Random, job: JobPlan) -> None:
    """Workers that leave, and items that nobody wants any more; some of these would never end."""
    if rng.random() < 0.3:
        job.leave_every = rng.choice([1, 3, 10])
    if job.tasks and rng.random() < 0.3:
        indices = {rng.randrange(job.tasks) for _ in range(rng.choice([1, 3, 20]))}
        job.cancels = [(rng.choice([0, rng.randrange(200 * MS)]), index) for index in sorted(indices)]
        if not job.limit_ns and rng.random() < 0.6:
            job.hangs |= indices - job.killers


def wide(seed: int, node_count: int, job_count: int = 5, tasks: int = 2_000) -> Scenario:
    """Many machines at once, some lost, some late; the server is lost in every third."""
    rng = random.Random(seed)
    nodes = []
    for number in range(node_count):
        node = NodePlan(number, rng.choice([1, 2, 4]), latency_ns=rng.choice([MS // 10, MS, 10 * MS]))
        node.join_ns = rng.choice([0, 0, 0, rng.randrange(50 * MS)])
        if rng.random() < 0.1:
            if rng.random() < 0.5:
                node.lost_ns = node.join_ns + rng.randrange(1, 60 * MS)
            else:
                node.cuts = [_cut(rng, node.join_ns)]
        nodes.append(node)
    nodes[0] = NodePlan(0, 2)
    jobs = [
        JobPlan(
            number,
            0,
            tasks,
            submit_ns=rng.randrange(20 * MS),
            chunksize=rng.choice([1, 2]),
            ordered=rng.random() < 0.5,
            reduces=rng.random() < 0.3,
            task_ns=rng.choice([1.0 * MS, 10.0 * MS]),
            read_ns=1_000.0,
        )
        for number in range(job_count)
    ]
    restarts = [Restart(rng.randrange(30 * MS, 80 * MS), 20 * MS)] if seed % 3 == 2 else []
    return Scenario(seed, nodes, [ControllerPlan(0)], jobs, restarts=restarts)


def crowd(seed: int, job_count: int = 300) -> Scenario:
    """Hundreds of jobs of every kind, of many controllers, on a few machines; the server may be lost."""
    rng = random.Random(seed)
    nodes = [_node(rng, number, [(3, 11)], calm=False) for number in range(15)]
    nodes += [NodePlan(number, 4) for number in range(15, 20)]
    controllers = [
        ControllerPlan(number, rng.choice([0, MS]), cuts=[_cut(rng)] if rng.random() < 0.2 else [])
        for number in range(20)
    ]
    jobs = [
        _job(rng, number, rng.randrange(20), [(3, 11)], calm=rng.random() < 0.7)
        for number in range(job_count)
    ]
    extra = random.Random(-1 - seed)
    for job in jobs:
        _leave_and_cancel(extra, job)
    restarts = [Restart(rng.randrange(20 * MS, 300 * MS), 50 * MS)] if rng.random() < 0.5 else []
    scenario = Scenario(seed, nodes, controllers, jobs, restarts=restarts)
    _give_needs(scenario)
    return scenario
