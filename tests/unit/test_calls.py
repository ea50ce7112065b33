"""A call and its engine: what fails while the job is handed over, and whose turn it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from achilles import ProtocolError, SerializationError, calls, map
from achilles.engines.drawing import Draw
from achilles.engines.job import Job
from achilles.serialization import serialize_failure


class FailingEngine:
    """Refuses every job, as a connection does that was lost a moment ago."""

    alone = False

    def __init__(self) -> None:
        self.released = 0

    def submit(self, job: Any) -> None:
        raise ProtocolError("the server lies")

    def cancel(self, job: Any) -> None:
        pass

    def release(self) -> None:
        self.released += 1

    def no_nodes_reason(self) -> str:
        return "It has no nodes."


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FailingEngine:
    failing = FailingEngine()
    monkeypatch.setattr(calls, "engine_for", lambda settings: failing)
    return failing


def test_the_engines_own_error_is_raised_and_the_engine_let_go(engine: FailingEngine) -> None:
    with pytest.raises(ProtocolError, match="the server lies"):
        map(abs, [1], address="local")
    assert engine.released == 1


def test_an_engine_is_let_go_when_the_function_cannot_travel(engine: FailingEngine) -> None:
    with pytest.raises(SerializationError):
        map(threading.Lock().__enter__, [1], address="local")
    assert engine.released == 1


class LeadingEngine(FailingEngine):
    """Is led by the caller's thread from the last parcel on, and brings all results only then."""

    def __init__(self) -> None:
        super().__init__()
        self.leads = False
        self.sent: list[tuple[int, int, int]] = []  # parcel, first, tasks

    def submit(self, job: Job) -> None:
        job.nodes_changed(1)
        job.granted(0, 1, 1)

    def send_parcel(self, job: Job, parcel: int, attempt: int, node: int, draw: Draw, _: object) -> None:
        assert self.leads == draw.ended
        self.sent.append((parcel, draw.first, draw.tasks))
        if draw.ended:
            for number, first, tasks in self.sent:
                failure = serialize_failure(ValueError(first), first)
                job.results(number, 1, [(first, tasks, 2, 1, failure)])
        else:
            job.granted(0, 1, 1)

    def end_input(self, job: Job) -> None:
        pass

    def lead(self) -> None:
        self.leads = True

    def let_go(self) -> None:
        self.leads = False


def test_the_callers_code_runs_only_after_the_engine_was_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    leading = LeadingEngine()
    monkeypatch.setattr(calls, "engine_for", lambda settings: leading)
    led: list[bool] = []
    left = map(abs, iter([1, 2]), on_error="skip", error_callback=lambda _: led.append(leading.leads))
    assert left == [[], []]
    assert len(leading.sent) == 2
    assert led == [False, False]
