"""What a task is taken to cost, sample after sample."""

from __future__ import annotations

import pytest

from achilles.core.means import Mean


def mean_of(*samples: tuple[float, int]) -> float:
    mean = Mean()
    for total, tasks in samples:
        mean.add(total, tasks)
    assert mean.value is not None
    return mean.value


def test_nothing_is_known_before_the_first() -> None:
    assert Mean().value is None
    assert mean_of((30.0, 3)) == 10.0


def test_more_tasks_say_more() -> None:
    # One task that was slow to begin, and a thousand.
    assert mean_of((240.0, 1), (1000.0, 1000)) == pytest.approx(1240 / 1001)


def test_samples_alike_count_for_three_tenths() -> None:
    assert mean_of(*[(10.0, 1)] * 10, (20.0, 1)) == pytest.approx(13.0)


def test_long_tasks_after_very_many_short_ones_are_noticed_at_once() -> None:
    assert mean_of((1_000.0, 1_000_000), (10_000_000.0, 1)) == pytest.approx(3_000_000, rel=0.01)
