"""Scheduled and plain execution of random programs agree: results, exceptions, order of side effects."""

from __future__ import annotations

import pytest

from achilles.scheduling.passes.forcing import Forcing

from .comparing import Difference, Subject, check
from .programs import program

# Each with two inputs in every mode. More on demand: make differential COUNT=1000000
PROGRAMS = 150


def test_scheduled_and_plain_execution_agree() -> None:
    runs = overlapped = 0
    for seed in range(PROGRAMS):
        ran, together = check(seed)
        runs, overlapped = runs + ran, overlapped + together
    assert runs > 800 and overlapped > runs / 4


def test_the_same_seed_makes_the_same_program() -> None:
    assert program(7) == program(7) != program(8)


def test_a_mistake_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the statements that force variables, programs come to see handles."""
    monkeypatch.setattr(Forcing, "_named", lambda self, node: node)
    with pytest.raises(Difference, match="in mode 'handles'"):
        _check_some()


def _check_some() -> None:
    for seed in range(20):
        check(seed, ["handles"])


def test_a_difference_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "plain", lambda self, seed: {"result": "other"})
    with pytest.raises(Difference, match=r"see it again: .* --seed 3"):
        check(3)
