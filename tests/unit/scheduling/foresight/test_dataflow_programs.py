"""Scheduled and plain runs of random programs with much to foresee agree."""

from __future__ import annotations

import pytest

from tests.differential.comparing import MODES, compared
from tests.unit.scheduling.foresight.dataflow_programs import dataflow_program

COUNT = 25


@pytest.mark.parametrize("mode", list(MODES))
def test_scheduled_and_plain_runs_agree(mode: str) -> None:
    overlapped = 0
    for seed in range(COUNT):
        source = dataflow_program(seed)
        plain, scheduled, most = compared(source, seed, mode)
        assert scheduled == plain, f"seed {seed}, mode {mode!r}\n{source}"
        overlapped += most > 4
    assert overlapped > COUNT // 4
