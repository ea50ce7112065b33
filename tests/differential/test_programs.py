"""Scheduled and plain execution of random programs agree: results, exceptions, traces, order of side effects."""

from __future__ import annotations

import os
from typing import Any

import pytest

from .comparing import MODES, Difference, check, compared
from .programs import program

# More on demand: make differential COUNT=1000000
PROGRAMS = int(os.environ.get("ACHILLES_DIFFERENTIAL_PROGRAMS", "400"))


@pytest.mark.parametrize("mode", MODES)
def test_scheduled_and_plain_execution_agree(mode: str) -> None:
    overlapped = sum(check(seed, mode) > 1 for seed in range(PROGRAMS))
    assert overlapped > PROGRAMS / 4 or mode == "one slot"


def test_the_same_seed_makes_the_same_program() -> None:
    assert program(7) == program(7) != program(8)


def test_a_wrong_order_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't verified goes wrong, and the comparison finds it and says how to see it again."""
    from achilles.scheduling.foresight import ahead

    monkeypatch.setattr(ahead, "_fits", lambda *args: True)
    with pytest.raises(Difference, match=r"see it again: python -m tests\.differential --seed \d+"):
        for seed in range(2000):
            check(seed, "values")


def test_results_are_compared() -> None:
    source = "def program(xs, n=3):\n    return f(n), object()\n"
    plain, scheduled, _ = compared(source, 1, "values")
    assert plain == scheduled
    source = "def program(xs, n=3):\n    log(f(n))\n    return f.__class__, log.__self__.lines is xs\n"
    first: Any = compared(source, 1, "values")
    second: Any = compared(source, 2, "values")
    assert first[0] == first[1] != second[0]
