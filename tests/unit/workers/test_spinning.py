"""When who waits for an answer looks for it, and when it sleeps at once."""

from __future__ import annotations

from typing import Any

import pytest

from achilles.workers import spinning
from achilles.workers.spinning import MOST_SKIPPED, SPIN_NS, Spinning


class Poller:
    """Becomes ready at a time of a clock that goes on with every look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look_ns: int = 1_000) -> None:
        self.now_ns = self.looks = 0
        self.look_ns = look_ns
        self.ready_ns = 0
        monkeypatch.setattr(spinning, "perf_counter_ns", lambda: self.now_ns)

    def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
        assert timeout_ms == 0
        self.looks += 1
        self.now_ns += self.look_ns
        return [(1, 1)] if self.now_ns >= self.ready_ns else []

    def spun(self, spinner: Spinning, after_ns: int) -> tuple[bool, bool]:
        """Whether it was ready, and whether it was looked at."""
        self.ready_ns = self.now_ns + after_ns
        self.looks = 0
        poller: Any = self
        return spinner.spin(poller), self.looks > 0


def test_what_comes_soon_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    poller, spinner = Poller(monkeypatch), Spinning()
    assert [poller.spun(spinner, SPIN_NS // 2) for _ in range(5)] == [(True, True)] * 5


def test_what_does_not_is_waited_for_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    poller, spinner = Poller(monkeypatch), Spinning()
    looked = [call for call in range(1200) if poller.spun(spinner, 10 * SPIN_NS) == (False, True)]
    assert looked[:5] == [0, 2, 6, 14, 30]
    assert looked[-1] - looked[-2] == MOST_SKIPPED + 1
    # As soon as it comes soon again, that counts.
    while not poller.spun(spinner, SPIN_NS // 2)[0]:
        pass
    assert poller.spun(spinner, SPIN_NS // 2) == (True, True)


def test_who_was_kept_from_its_core_does_not_go_on_so(monkeypatch: pytest.MonkeyPatch) -> None:
    poller, spinner = Poller(monkeypatch, look_ns=20 * SPIN_NS), Spinning()
    assert poller.spun(spinner, 1) == (True, True)
    assert poller.spun(spinner, 1) == (False, False)
