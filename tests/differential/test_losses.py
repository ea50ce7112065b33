"""Random programs don't notice that nodes are lost with what they keep, and leave nothing on them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from achilles.scheduling import pool_calls, remaking
from achilles.scheduling.pool_calls import PoolCalls

from .comparing import Subject
from .losing_pool import LosingPool
from .programs import program

PROGRAMS = 40
CHANCE = 0.15


class _Losing(Subject):
    """A program on a pool that loses nodes."""

    def losing(self, seed: int, chance: float) -> tuple[dict[str, Any], LosingPool]:
        pool = LosingPool(seed, chance)
        self._calls = _Provided(pool)
        try:
            return self._run(self._scheduled, seed), pool
        finally:
            pool.end()


class _Provided(PoolCalls):
    @contextmanager
    def provider(self) -> Iterator[PoolCalls]:
        yield self


def _differing(chance: float, programs: int) -> tuple[list[int], int]:
    """The seeds of programs that run differently, and how many nodes were lost."""
    found, losses = [], 0
    for seed in range(programs):
        subject = _Losing(program(seed, 20))
        plain = subject.plain(seed)
        seen, pool = subject.losing(seed, chance)
        if seen != plain:
            found.append(seed)
        losses += pool.losses
        gc.collect()  # the program's errors, with their tracebacks
        assert not pool.shelf.payloads
    return found, losses


def test_what_is_lost_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pool_calls, remaking):
        monkeypatch.setattr(module, "MOST_ATTEMPTS", 50)  # nodes are lost that often here
    differing, losses = _differing(CHANCE, PROGRAMS)
    assert not differing
    assert losses > PROGRAMS


def test_losses_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pool_calls, remaking):
        monkeypatch.setattr(module, "MOST_ATTEMPTS", 1)
    differing, _ = _differing(CHANCE, 20)
    assert len(differing) > 2
