"""Fair queues of several priorities, and of groups within them."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from achilles.core.levels import Levels


def levels_of(**priorities: int) -> Levels[str]:
    levels: Levels[str] = Levels()
    for key, priority in priorities.items():
        levels.add(key, priority=priority)
        levels.activate(key)
    return levels


def serve(levels: Levels[str], times: int) -> Counter[str]:
    given: Counter[str] = Counter()
    for _ in range(times):
        key = levels.first()
        assert key is not None
        levels.serve(key, 1.0)
        given[key] += 1
    return given


def test_a_higher_priority_comes_first_however_much_it_got() -> None:
    levels = levels_of(low=-2, high=5, middle=0)
    assert serve(levels, 50) == {"high": 50}
    levels.deactivate("high")
    assert serve(levels, 50) == {"middle": 50}
    levels.remove("middle")
    assert serve(levels, 50) == {"low": 50}


def test_equal_ones_take_turns_and_start_at_their_own_present() -> None:
    levels = levels_of(high=5, a=0, b=0)
    serve(levels, 1_000)
    levels.deactivate("high")
    assert serve(levels, 20) == {"a": 10, "b": 10}
    levels.add("c")
    levels.activate("c")
    given = serve(levels, 30)
    assert all(9 <= given[key] <= 11 for key in "abc")


def test_who_cannot_serve_one_priority_serves_the_next() -> None:
    levels = levels_of(high=5, low=0)
    assert levels.first_that(lambda key: key != "high") == "low"
    assert [level.priority for level in levels.from_high()] == [5, 0]
    levels.deactivate("high")
    assert [level.priority for level in levels.from_high()] == [0]
    assert (len(levels), levels.active_from(5), levels.active_from(0)) == (1, 0, 1)


def test_a_priority_without_keys_is_forgotten() -> None:
    levels = levels_of(only=0)
    assert levels.is_flat
    for priority in range(-100, 100):
        levels.add("passing", priority=priority)
        levels.remove("passing")
    assert levels.is_flat and serve(levels, 3) == {"only": 3}


def test_groups_take_turns_with_the_others_and_are_shown_only_to_their_own() -> None:
    levels: Levels[str] = Levels()
    for key, group in (("open", None), ("narrow", "gpu"), ("other", "fpga")):
        levels.add(key, group=group)
        levels.activate(key)
    given: Counter[str] = Counter()
    asked: Counter[str] = Counter()

    def accepts(key: str) -> bool:
        asked[key] += 1
        return True

    for _ in range(40):
        key = levels.first_that(accepts, ["gpu", "none"])
        assert key is not None
        levels.serve(key, 1.0)
        given[key] += 1
    assert given == {"open": 20, "narrow": 20}
    assert not asked["other"]
    assert set(levels) == {"open", "narrow", "other"}


STEPS = st.tuples(st.sampled_from(["on", "off", "serve", "charge", "gone", "come"]), st.integers(0, 5))


@given(st.lists(STEPS, max_size=80))
@settings(max_examples=100, deadline=None)
def test_first_is_always_of_the_highest_priority_that_wants(steps: list[tuple[str, int]]) -> None:
    levels: Levels[int] = Levels()
    active: set[int] = set()
    known: set[int] = set()
    for what, key in steps:
        if what == "come" and key not in known:
            levels.add(key, priority=key % 3 - 1, group="odd" if key % 2 else None)
            known.add(key)
        elif key not in known:
            levels.charge(key, 1.0)
            levels.deactivate(key)
        elif what == "on":
            levels.activate(key)
            active.add(key)
        elif what == "off":
            levels.deactivate(key)
            active.discard(key)
        elif what == "serve":
            levels.serve(key, 2.0)
        elif what == "charge":
            levels.charge(key, -0.5)
        elif what == "gone":
            levels.remove(key)
            active.discard(key)
            known.discard(key)
        assert set(levels) == active and len(levels) == len(active)
        assert all((key in levels) == (key in active) for key in range(6))
        first = levels.first_that(lambda key: True, ["odd"])
        assert (first is None) == (not active)
        if first is not None:
            rivals = [key for key in active if key % 3 == max(other % 3 for other in active)]
            assert first in rivals
            assert levels.due_at(first) == min(levels.due_at(key) for key in rivals)
        assert levels.active_from(0) == sum(key % 3 >= 1 for key in active)
