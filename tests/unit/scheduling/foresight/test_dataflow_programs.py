"""Scheduled and plain runs of random programs with much to foresee agree."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from tests.differential.comparing import MODES, Subject
from tests.differential.stub_calls import StubCalls
from tests.differential.world import World
from tests.unit.scheduling.foresight.dataflow_programs import PREAMBLE, dataflow_program

COUNT = 60


class DataflowSubject(Subject):
    def _surround(self, world: World) -> None:
        super()._surround(world)
        exec(PREAMBLE, self._names)

    def told_late(self, seed: int) -> dict[str, Any]:
        """What a scheduled run shows whose calls are done some time before that is said, as with threads."""
        self._calls = LateCalls(seed)
        seen = self._run(self._scheduled, seed)
        seen["left over"] = len(self._calls.under_way)
        return seen


class LateCalls(StubCalls):
    """Says that calls are done only when somebody waits."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.untold: list[tuple[deque[Any], Any]] = []

    def _run_one(self) -> None:
        call = self.under_way.pop(self.random.randrange(len(self.under_way)))
        self.untold.append((call._finished, call))
        call._finished = deque()
        call.run()

    def wait(self, started: Any, finished: deque[Any]) -> None:
        for place, call in self.untold:
            place.append(call)
        self.untold.clear()
        super().wait(started, finished)


@pytest.mark.parametrize("first", range(0, COUNT, 10))
def test_scheduled_and_plain_runs_agree(first: int) -> None:
    overlapped = 0
    for seed in range(first, first + 10):
        source = dataflow_program(seed)
        subject = DataflowSubject(source)
        plain = subject.plain(seed)
        late = subject.told_late(seed)
        assert late == plain, f"seed {seed}, told late\n{source}"
        for mode in MODES:
            scheduled, most = subject.scheduled(seed, mode)
            assert scheduled == plain, f"seed {seed}, mode {mode!r}\n{source}"
            overlapped += most > 4
    assert overlapped > 0
