"""A call whose engine fails while the job is handed over."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from achilles import ProtocolError, SerializationError, calls, map


class FailingEngine:
    """Refuses every job, as a connection does that was lost a moment ago."""

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
