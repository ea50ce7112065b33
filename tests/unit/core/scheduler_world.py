"""Nodes and jobs around the server's brain: what they know of each other, and what each command must be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from achilles.core import scheduler_events as ev
from achilles.core.scheduler import Scheduler


@dataclass
class Parcel:
    """A parcel as its controller and its nodes know it."""

    first: int
    tasks: int
    size_bytes: int
    attempts: dict[int, int] = field(default_factory=dict)  # sent as this attempt -> to this node
    losses: int = 0
    current: int = 0  # the attempt that counts, 0 while it is on no node
    missing: list[tuple[int, int]] = field(default_factory=list)  # of the current attempt


@dataclass
class Job:
    """A job as its controller knows it."""

    chunksize: int
    python: tuple[int, int] | None
    name: str | None = None  # of the only kind of node that may run it
    slots: int = 1
    demands: list[ev.Demand] = field(default_factory=list)
    resends: list[ev.Resend] = field(default_factory=list)
    parcels: dict[int, Parcel] = field(default_factory=dict)  # not done
    done: dict[int, Parcel] = field(default_factory=dict)
    next_parcel: int = 0
    next_index: int = 0
    ended: bool = False


class World:
    """Everybody around a scheduler, and what they remember."""

    brain: Scheduler

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1
        self.cpu_counts: dict[int, int] = {}
        self.pythons: dict[int, tuple[int, int]] = {}
        self.names: dict[int, tuple[str, ...]] = {}
        self.draining: set[int] = set()
        self.lent: set[int] = set()  # nodes all of whose slots single calls have
        self.jobs: dict[int, Job] = {}
        self.introduced: set[tuple[int, int]] = set()
        self.asked_back: list[ev.TakeBack] = []
        self.asked_ns: dict[tuple[int, int], int] = {}  # when a job was last asked on behalf of a node
        self.serial = 0
        self.carried: tuple[int, int] | None = None

    def hear(self, kind: Any, *args: Any, **named: Any) -> list[ev.Command]:
        commands = self.brain.handle(kind(self.now_ns, *args, **named))
        for command in commands:
            self.obey(command)
        return commands

    def may_run(self, job: Job, node: int) -> bool:
        named = job.name is None or job.name in self.names[node]
        return named and job.slots <= self.cpu_counts[node] and job.python in (None, self.pythons[node])

    def obey(self, command: ev.Command) -> None:
        match command:
            case ev.Demand(_, number, node, cpu_count, packets):
                job = self.jobs[number]
                assert node in self.cpu_counts and node not in self.draining | self.lent and packets >= 1
                assert cpu_count == self.cpu_counts[node] // job.slots
                assert self.may_run(job, node) and not job.ended
                job.demands.append(command)
                self.asked_ns[number, node] = self.now_ns
            case ev.Resend(_, number, parcel, attempt, node):
                assert node in self.cpu_counts and node not in self.draining | self.lent
                assert self.may_run(self.jobs[number], node)
                assert attempt not in self.jobs[number].parcels[parcel].attempts
                self.jobs[number].resends.append(command)
            case ev.SendParcel(node, number, parcel, attempt):
                assert self.carried == (number, parcel), "another parcel than the one that came is sent on"
                assert node in self.cpu_counts and node not in self.draining | self.lent
                assert (node, number) in self.introduced and self.may_run(self.jobs[number], node)
                known = self.jobs[number].parcels[parcel]
                assert attempt not in known.attempts, "one attempt is handed out twice"
                known.attempts[attempt] = node
                known.current = attempt
                known.missing = [(known.first, known.tasks)]
            case ev.IntroduceJob(node, number):
                assert (node, number) not in self.introduced
                self.introduced.add((node, number))
            case ev.ForgetJob(node, number):
                self.introduced.remove((node, number))
            case ev.TakeBack(node, number, parcel, attempt):
                known = self.jobs[number].parcels[parcel]
                assert known.current == attempt and known.attempts[attempt] == node
                self.asked_back.append(command)
            case ev.FailParcel(_, number, parcel, _):
                known = self.jobs[number].parcels.pop(parcel)
                assert known.losses >= self.brain.max_attempts
                self.jobs[number].done[parcel] = known
            case ev.FinishJob(_, number):
                job = self.jobs.pop(number)
                assert job.ended and not job.parcels, "a job is finished before all is done"
            case ev.FailJob(_, number, code, _):
                job = self.jobs.pop(number)
                assert self.pythons and not any(self.may_run(job, node) for node in self.cpu_counts)
                unknown = job.python is not None and job.python not in self.pythons.values()
                assert code == ("version" if unknown else "nodes")

    def pick(self, data: st.DataObject, things: Any) -> Any:
        return data.draw(st.sampled_from(sorted(things) if isinstance(things, dict | set) else things))

    def out(self) -> list[tuple[int, int]]:
        """Parcels that lie at a node."""
        return [
            (number, parcel)
            for number, job in self.jobs.items()
            for parcel, known in job.parcels.items()
            if known.current
        ]
