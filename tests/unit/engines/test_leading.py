"""Who leads an engine's loop lets it go, however his waiting ends; else nobody hears the workers again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from achilles.engines.job import Job
from achilles.engines.spec import JobSpec
from achilles.task_cancelled import TaskCancelled


class Engine:
    """One whose job is cancelled by somebody else while its reader pumps."""

    alone = False

    def __init__(self) -> None:
        self.heard: list[str] = []

    def submit(self, job: Job) -> None:
        self.job = job
        job.granted(0, 2, 100)

    def send_parcel(self, *parcel: Any, cancelled: Sequence[int] = ()) -> None:
        pass

    def end_input(self, job: Job) -> None:
        pass

    def cancel(self, job: Job) -> None:
        pass

    def cancel_item(self, job: Job, parcel: int, attempt: int, index: int) -> None:
        pass

    def pump(self, patience_s: float, wanted: Callable[[], bool]) -> bool:
        self.heard.append("pump")
        self.job.cancel()
        return True

    def lead(self) -> None:
        self.heard.append("lead")

    def let_go(self) -> None:
        self.heard.append("let go")

    def no_nodes_reason(self) -> str:
        return ""


def test_a_reader_whose_job_is_cancelled_lets_the_engine_go() -> None:
    engine = Engine()
    job = Job(JobSpec(abs, [-1], flat=True), engine)
    job.start()
    assert not job.feed_once()
    with pytest.raises(TaskCancelled):
        job.next_parcel()
    assert engine.heard[-2:] == ["pump", "let go"]
