"""Scheduled and plain runs of random programs with much to foresee agree."""

from __future__ import annotations

import pytest

from tests.differential.comparing import MODES, Subject
from tests.differential.world import World
from tests.unit.scheduling.foresight.dataflow_programs import PREAMBLE, dataflow_program

COUNT = 60


class DataflowSubject(Subject):
    def _surround(self, world: World) -> None:
        super()._surround(world)
        exec(PREAMBLE, self._names)


@pytest.mark.parametrize("first", range(0, COUNT, 10))
def test_scheduled_and_plain_runs_agree(first: int) -> None:
    overlapped = 0
    for seed in range(first, first + 10):
        source = dataflow_program(seed)
        subject = DataflowSubject(source)
        plain = subject.plain(seed)
        for mode in MODES:
            scheduled, most = subject.scheduled(seed, mode)
            assert scheduled == plain, f"seed {seed}, mode {mode!r}\n{source}"
            overlapped += most > 4
    assert overlapped > 0
