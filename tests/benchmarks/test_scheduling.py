"""The benchmark of scheduling measures what it says; the figures are for people."""

from __future__ import annotations

from benchmarks.scheduling import NoCalls, chained_calls, many_calls, measured, plain_stretch


def test_it_measures() -> None:
    figures = measured(items=500, count=20, rounds=1)
    assert figures.stretch > 0
    assert set(figures.call_us) == set(figures.long_call_us) == {"independent", "each after the other"}
    assert min(figures.call_us.values()) > 0


def test_scheduled_and_plain_do_the_same() -> None:
    from achilles.scheduling import schedule

    for function in (plain_stretch, many_calls, chained_calls):
        for at_once in (True, False):
            assert schedule(function, calls=NoCalls(at_once=at_once).provider)(300) == function(300)
