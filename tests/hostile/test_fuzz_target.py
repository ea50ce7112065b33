"""The target of ``make fuzz`` itself, for a moment."""

from __future__ import annotations

from tests.fuzz.frames import PARTS, at_random, try_one


def test_the_target_runs() -> None:
    for part in PARTS:
        try_one(part)
    assert at_random(1.0) > 10
