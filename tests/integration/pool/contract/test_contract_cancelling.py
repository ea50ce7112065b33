"""What is cancelled stops, alone, and its worker is free again or replaced."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from pathlib import Path

import pytest

import achilles
from tests.integration.cluster.parties import wait_until
from tests.integration.pool.contract import tasks
from tests.integration.pool.contract.faces import PATIENCE_S, Face


def waiting_at(gate: Path) -> list[int]:
    """The processes that wait, or waited, until it is opened."""
    return [int(path.suffix[1:]) for path in gate.parent.glob(f"{gate.name}.*")]


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def test_leaving_early_stops_what_runs(face: Face, tmp_path: Path) -> None:
    gate, open_gate = tmp_path / "gate", tmp_path / "open"
    open_gate.touch()
    items = (str(open_gate if number == 0 else gate) for number in range(10))
    read = (face.unordered if face.can("lazy results as they come") else face.ordered)(tasks.wait_at, items)
    assert next(read)
    begun = wait_until(lambda: waiting_at(gate), what="for items that run")
    read.close()  # type: ignore[attr-defined]
    wait_until(lambda: all(map(is_gone, begun)), what="for the workers that ran them")
    assert face.all_of(tasks.square, range(20)) == [number * number for number in range(20)]


def test_a_cancelled_call_stops_alone(face: Face, tmp_path: Path) -> None:
    face.needs("cancelled calls")
    ends, stays = tmp_path / "ends", tmp_path / "stays"
    call, cancel = face.cancellable(tasks.wait_at, str(ends))
    other = face.call(tasks.wait_at, str(stays))
    (pid,) = wait_until(lambda: waiting_at(stays) and waiting_at(ends), what="for both to run")
    cancel()
    known = (concurrent.futures.CancelledError, achilles.TaskCancelled, asyncio.CancelledError)
    with pytest.raises(known):
        call(PATIENCE_S)
    wait_until(lambda: is_gone(pid), what="for the worker that ran it")
    stays.touch()
    assert [other(PATIENCE_S)] == waiting_at(stays)  # it ran once
