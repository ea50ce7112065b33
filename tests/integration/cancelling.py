"""A job of which a test can cancel single items, as the faces above the engines do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from achilles.config import load_settings
from achilles.engines.choice import engine_for
from achilles.engines.job import Job
from achilles.engines.outcomes import packets_of
from achilles.engines.spec import JobSpec


@contextmanager
def job_of(
    where: dict[str, Any], func: Callable[[Any], Any], args: Iterable[Any], *, start: bool = True, **spec: Any
) -> Iterator[Job]:
    """The job, cancelled and let go of at the end."""
    engine = engine_for(load_settings(**where))
    job = None
    try:
        made = JobSpec(func, args, on_error="return", **spec)
        made.check()
        job = Job(made, engine)
        if start:
            begin(job)
        yield job
    finally:
        if job is not None:
            job.cancel()
        engine.release()


def begin(job: Job) -> None:
    """Have it run."""
    job.start()
    job.start_feeder()


def results_of(job: Job) -> list[Any]:
    """What its packets hold, exceptions in place of results that are none; reduced packets one by one."""
    results: list[Any] = []
    while (parcel := job.next_parcel()) is not None:
        for packet in packets_of(parcel, reduces=job.reduces, on_error="return"):
            results += [packet.result] if job.reduces else packet.result
    return results
