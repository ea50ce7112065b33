"""What is drawn again is drawn by one thread, whatever the one does that drew it first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from achilles.engines import task_times
from achilles.engines.drawing import Draw
from achilles.engines.job import Job
from achilles.engines.spec import JobSpec

ITEMS = 40


class Engine:
    """One that wants two parcels, and remembers what was sent and by which thread."""

    alone = False

    def __init__(self) -> None:
        self.sent: list[tuple[int, Draw, int]] = []
        self.changed = threading.Condition()
        self.ends = 0

    def submit(self, job: Job) -> None:
        job.granted(0, 2, 4)
        job.granted(0, 2, 100)

    def send_parcel(
        self, job: Job, parcel: int, attempt: int, node: int, draw: Draw, cancelled: Sequence[int] = ()
    ) -> None:
        with self.changed:
            self.sent.append((parcel, draw, threading.get_ident()))
            self.changed.notify_all()

    def end_input(self, job: Job) -> None:
        self.ends += 1

    def cancel(self, job: Job) -> None:
        pass

    def cancel_item(self, job: Job, parcel: int, attempt: int, index: int) -> None:
        pass

    def pump(self, patience_s: float, wanted: Any) -> bool:
        return False

    def lead(self) -> None:
        pass

    let_go = lead

    def no_nodes_reason(self) -> str:
        return ""


def test_who_drew_it_first_draws_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_times.of_program, "expected_ns", lambda _: 500.0)
    engine = Engine()
    job = Job(JobSpec(abs, list(range(ITEMS)), patient=True), engine)
    job.start()
    while job.feed_once(or_read=True):
        pass
    first, last = engine.sent
    assert (first[1].tasks, last[1].tasks) == (8, ITEMS - 8)
    job.resend(last[0], 1, 0, redraw=True)
    job.granted(0, 2, 4)
    # As a caller does who has read the first parcel.
    assert not job.feed_once(or_read=True)
    job.granted(0, 2, 100)
    with engine.changed:
        assert engine.changed.wait_for(lambda: sum(draw.tasks for _, draw, _ in engine.sent[2:]) == 32, 10.0)
    feeders = {thread for _, _, thread in engine.sent[2:]}
    assert len(feeders) == 1 and threading.get_ident() not in feeders
    assert not job.feed_once(or_read=True)
    job.cancel()
