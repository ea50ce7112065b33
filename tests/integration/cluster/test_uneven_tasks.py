"""Tasks of very different length in one chunk: what is long holds nothing else up."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
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


@pytest.mark.parametrize("failing", [None, 3])
def test_what_is_done_does_not_wait_for_what_is_long(
    where: Where, tmp_path: Path, failing: int | None
) -> None:
    """The eleventh item waits until the results of the packets before its own were read."""
    gate = tmp_path / "gate"
    items = [(str(gate), number, number == 10, number == failing) for number in range(100)]
    with imap(tasks.behind_gate, iter(items), chunksize=1, on_error="return", **where) as packets:
        found: list[Any] = []
        while len(found) < 8:
            found += next(packets)["RESULT"]
        gate.touch()
        found += [value for packet in packets for value in packet["RESULT"]]
    if failing is not None:
        assert isinstance(found[failing], ValueError)
        found[failing] = failing
    assert found == list(range(100))


def test_large_results_that_are_done_come_before_what_is_long(where: Where, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    items = [(str(gate), number, number == 5, False) for number in range(16)]
    with imap(partial(tasks.behind_gate, size_bytes=1 << 20), items, chunksize=1, **where) as packets:
        found: list[Any] = []
        while len(found) < 3:
            found += next(packets)["RESULT"]
        gate.touch()
        found += [value for packet in packets for value in packet["RESULT"]]
    assert found == [bytes([number]) * (1 << 20) for number in range(16)]


def test_results_that_cannot_be_pickled_yet_are_answered_in_the_end(where: Where, tmp_path: Path) -> None:
    """Pickling them works in the thread that ran them alone; so nothing is early, and nothing is lost."""
    gate = tmp_path / "gate"
    items = [(str(gate), number, number == 5, False) for number in range(16)]
    with imap(tasks.with_thread, items, chunksize=1, **where) as packets:
        timer = threading.Timer(0.3, gate.touch)
        timer.start()
        assert [value for packet in packets for value in packet["RESULT"]] == list(range(16))
        timer.join()
