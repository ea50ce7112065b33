"""A function that was quick whenever it was mapped, and is not any more."""

from __future__ import annotations

import os
import time
from pathlib import Path

import achilles
from achilles.engines import task_times
from tests.integration.faults.conftest import DEADLINE_S, engine_of


def work(meeting_place: Path | None) -> int:
    """Return at once; or, given a directory, once another worker came there as well."""
    if meeting_place is not None:
        (meeting_place / str(os.getpid())).touch()
        deadline_s = time.monotonic() + DEADLINE_S
        while len(list(meeting_place.iterdir())) < 2:
            assert time.monotonic() < deadline_s, "the other worker was given nothing"
            time.sleep(0.005)
    return os.getpid()


def test_what_was_taken_for_short_is_shared_out_once_it_is_not(tmp_path: Path) -> None:
    with engine_of(2) as place:
        for _ in range(3):
            achilles.map(work, [None] * 1000, chunksize=None, **place.call)
        expected_ns = task_times.of_program.expected_ns(work)
        assert expected_ns is not None and expected_ns * 4 < 1_000_000
        pids = achilles.map(work, [tmp_path] * 4, chunksize=None, **place.call)
        assert {pid for packet in pids for pid in packet} == place.workers()
        assert task_times.of_program.expected_ns(work) > expected_ns
