"""A pool that one thread closes while another waits for its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from achilles.pool import life
from achilles.pool.jobs import Jobs
from achilles.pool.life import CLOSE, PoolLife
from achilles.pool.place import Place

PATIENCE_S = 20.0


class OwnPlace:
    is_inherited = False
    is_local = True


class OneCall:
    """The jobs of a pool that has one call, which is over when the gate opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.is_over = False

    def stop_buffered(self) -> None: ...

    def join(self) -> None: ...

    def end(self) -> None:
        assert self.gate.wait(PATIENCE_S)
        self.is_over = True


class Begun(threading.Thread):
    """A thread that begins at once."""

    def __init__(self, target: Callable[[], Any]) -> None:
        super().__init__(target=target, daemon=True)
        self.start()

    def ends(self, within_s: float) -> bool:
        self.join(within_s)
        return not self.is_alive()


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Before this is set, the pool's own threads don't begin, as on a machine that has much else to do."""
    event = threading.Event()

    class LateThread(threading.Thread):
        def start(self) -> None:
            assert event.wait(PATIENCE_S)
            super().start()

    monkeypatch.setattr(life, "threading", SimpleNamespace(Thread=LateThread, Event=threading.Event))
    return event


@pytest.mark.parametrize("how", ["join", "finish"])
def test_who_waits_for_the_end_does_so_before_the_closing_thread_has_begun(
    how: str, begin: threading.Event
) -> None:
    jobs = OneCall()
    pool = PoolLife(cast(Place, OwnPlace()), cast(Jobs, jobs))
    closing = Begun(pool.close)
    while pool._state != CLOSE:
        threading.Event().wait(0.001)
    waiting = Begun(getattr(pool, how))
    assert not waiting.ends(0.2)  # long enough for one that does not wait
    if how == "join":  # the end of a program can't rely on a thread that has not begun
        begin.set()
    jobs.gate.set()
    assert waiting.ends(PATIENCE_S) and jobs.is_over
    begin.set()
    assert closing.ends(PATIENCE_S)
