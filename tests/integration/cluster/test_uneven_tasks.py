"""Tasks of very different length in one chunk: what is long holds nothing else up."""

from __future__ import annotations

import time
from typing import Any

import pytest

from achilles import imap, map
from tests.integration.cluster import tasks

Where = dict[str, Any]
LONG_S = 0.05


def test_long_tasks_behind_short_ones_of_their_chunk_are_shared(embedded: Where) -> None:
    """The chunk of one worker: without its neighbours' help it would take all of them one after another."""
    workers = {pid for packet in map(tasks.pid_after, [0.01] * 64, **embedded) for pid in packet}
    if len(workers) == 1:
        pytest.skip("there is one worker")
    waits_s = [0.0] * 30 + [LONG_S] * 30
    (pids,) = map(tasks.pid_after, [waits_s], **embedded)
    assert len(pids) == 60
    assert set(pids[30:]) == workers


def test_a_job_does_not_wait_for_the_end_of_anothers_chunk(embedded: Where) -> None:
    with imap(tasks.pid_after, [LONG_S] * 1000, chunksize=100, **embedded):
        began_s = time.monotonic()
        map(tasks.pid_after, [0.0] * 8, **embedded)
        assert time.monotonic() - began_s < 50 * LONG_S
