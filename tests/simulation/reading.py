"""What the user would see of a parcel, checked task by task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.simulation.scenario import JobPlan


@dataclass
class Results:
    """One segment: a range of tasks and what became of it."""

    of: JobPlan | None  # the job whose function made it
    first: int
    tasks: int
    status: int
    busy_us: int
    size_bytes: int
    reduced: bool = False  # one value for each packet of the range
    death_of: int | None = None  # the item that killed its workers
    timeout_of: int | None = None  # the item that ran too long
    cancelled_of: int | None = None  # the item that nobody wants any more

    @property
    def failed(self) -> tuple[int | None, ...]:
        """The item that failed by itself, if there is one."""
        return self.death_of, self.timeout_of, self.cancelled_of


def within(part: Results, first: int, end: int, packet_tasks: int) -> Results:
    """What lies in a range of a segment that may go beyond it, as when another attempt got less far."""
    start, stop = max(part.first, first), min(part.first + part.tasks, end)
    if (start, stop) == (part.first, part.first + part.tasks):
        return part
    if part.reduced:
        assert packet_tasks and (start - part.first) % packet_tasks == 0, "a reduced packet is cut"
        at_its_end = stop == part.first + part.tasks
        assert at_its_end or (stop - start) % packet_tasks == 0, "a reduced packet is cut"
    return replace(part, first=start, tasks=stop - start)


def check_parcel(
    job: JobPlan, shape: tuple[int, int, int], results: list[Results], failed: bool, never: set[int]
) -> None:
    """Every task of the parcel exactly once; every packet reduced, or failed for a stated cause.

    Items that were ``never`` to be run were not.
    """
    first, tasks, packet_tasks = shape
    if failed:
        return
    ordered = sorted(results, key=lambda part: part.first)
    at = first
    for part in ordered:
        assert part.of is job, "results of another job"
        assert part.first == at, f"gap or overlap at {at}: next segment starts at {part.first}"
        at += part.tasks
        if part.death_of is not None:
            assert part.status == 2
            # A reducer that kills its worker takes the packet it was reducing.
            reducing = job.reduces and (part.first - first) % (packet_tasks or 1) == 0
            assert part.tasks <= 1 or (reducing and part.tasks <= packet_tasks), (
                "a death took innocents along"
            )
    assert at == first + tasks, f"results end at {at}, not at {first + tasks}"
    assert ordered, "delivered without any result"
    for index in job.killers | job.hangs:
        if first <= index < first + tasks:
            blamed = [part for part in ordered if index in part.failed]
            assert [(part.first, part.tasks, part.status) for part in blamed] == [(index, 1, 2)], (
                f"item {index} must fail, and is not the one that did"
            )
    for part in ordered:
        here = range(part.first, part.first + part.tasks)
        assert part.cancelled_of is not None or never.isdisjoint(here), "an item was run in spite of all"
        if part.timeout_of is not None:
            assert part.timeout_of in job.hangs and part.tasks == 1, "an item in time was stopped"
        if part.cancelled_of is not None:
            assert part.cancelled_of in job.cancelled and part.tasks == 1, "a wanted item was cancelled"
    if not job.reduces:
        assert not any(part.reduced for part in ordered)
        return
    if not packet_tasks:
        assert len(ordered) == 1 and (ordered[0].reduced or ordered[0].status == 2)
        return
    for start in range(first, first + tasks, packet_tasks):
        end = min(start + packet_tasks, first + tasks)
        parts = [part for part in ordered if part.first < end and part.first + part.tasks > start]
        if len(parts) == 1 and parts[0].reduced:
            whole = parts[0]
            assert (whole.first - first) % packet_tasks == 0, "a reduced range starts within a packet"
            stop = whole.first + whole.tasks - first
            assert stop % packet_tasks == 0 or stop == tasks, "a reduced range ends within a packet"
        else:
            assert any(part.status == 2 for part in parts), f"packet {start}..{end} was not reduced"
            assert all(start <= part.first and part.first + part.tasks <= end for part in parts)
            assert not any(part.reduced for part in parts)
