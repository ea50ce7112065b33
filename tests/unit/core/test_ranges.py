"""Ranges against the set of indices that they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from achilles.core.ranges import Ranges

TASKS = 24


@given(st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=4), max_size=12))
def test_ranges_are_a_set_that_refuses_what_it_has(batches: list[list[tuple[int, int]]]) -> None:
    ranges, done = Ranges(3, TASKS), set[int]()
    for batch in batches:
        wanted = [index for first, tasks in batch for index in range(first, first + tasks)]
        good = (
            all(tasks for _, tasks in batch)
            and len(set(wanted)) == len(wanted)
            and done.isdisjoint(wanted)
            and all(3 <= index < 3 + TASKS for index in wanted)
        )
        assert (ranges.add(batch) is None) == good
        if good:
            done.update(wanted)


def test_a_parcel_of_nothing_is_done_once() -> None:
    ranges = Ranges(7, 0)
    assert ranges.add([(8, 0)]) is not None
    assert ranges.add([(7, 0)]) is None
    assert ranges.add([(7, 0)]) is not None


def test_cleared_ranges_may_come_again() -> None:
    ranges = Ranges(0, 2)
    assert ranges.add([(0, 2)]) is None
    ranges.clear()
    assert ranges.add([(0, 1), (1, 1)]) is None


def test_absurd_numbers_cost_nothing() -> None:
    assert Ranges(0, 2).add([(2**63 - 1, 2**63 - 1)]) is not None
    assert Ranges(0, 2**63).add([(0, 2**62), (2**62, 2**62)]) is None
