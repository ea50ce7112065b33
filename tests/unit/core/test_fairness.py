"""Weighted fair queueing: shares, newcomers, idlers, keys that are passed over."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from achilles.core.fairness import FairQueue


def queue_of(*keys: str, **weights: float) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for key in keys:
        queue.add(key, weights.get(key, 1.0))
        queue.activate(key)
    return queue


def serve(queue: FairQueue[str], times: int, cost: float = 1.0) -> dict[str, float]:
    """Serve whoever is due; returns what each was given."""
    given: dict[str, float] = {}
    for _ in range(times):
        key = queue.first()
        assert key is not None
        queue.serve(key, cost)
        given[key] = given.get(key, 0.0) + cost
    return given


def test_an_empty_queue_has_no_first() -> None:
    queue: FairQueue[str] = FairQueue()
    assert queue.first() is None
    assert queue.first_that(lambda key: True) is None
    assert len(queue) == 0


def test_equal_weights_take_turns() -> None:
    assert serve(queue_of("a", "b", "c"), 30) == {"a": 10, "b": 10, "c": 10}


def test_weights_are_shares() -> None:
    assert serve(queue_of("a", "b", a=3.0), 40) == {"a": 30, "b": 10}


def test_shares_are_of_service_not_of_turns() -> None:
    queue = queue_of("long", "short")
    given = {"long": 0.0, "short": 0.0}
    for _ in range(1_100):
        key = queue.first()
        assert key is not None
        cost = 10.0 if key == "long" else 1.0
        queue.serve(key, cost)
        given[key] += cost
    assert abs(given["long"] - given["short"]) <= 10.0


def test_idling_saves_nothing_up() -> None:
    queue = queue_of("a", "b")
    serve(queue, 2)
    queue.deactivate("b")
    serve(queue, 100)
    queue.activate("b")
    given = serve(queue, 20)
    assert abs(given["a"] - given["b"]) <= 1


def test_a_newcomer_starts_at_the_present() -> None:
    queue = queue_of("a")
    serve(queue, 100)
    queue.add("b")
    queue.activate("b")
    given = serve(queue, 20)
    assert abs(given["a"] - given["b"]) <= 2


def test_a_newcomer_does_not_profit_from_a_key_that_is_passed_over() -> None:
    """A job that no free node can run lags behind; the next job must not start where it stands."""
    queue = queue_of("stuck", "old")
    for _ in range(1_000):
        key = queue.first_that(lambda name: name != "stuck")
        assert key == "old"
        queue.serve(key, 1.0)
    queue.add("new")
    queue.activate("new")
    given = {"old": 0, "new": 0}
    for _ in range(20):
        key = queue.first_that(lambda name: name != "stuck")
        assert key is not None
        queue.serve(key, 1.0)
        given[key] += 1
    assert given["old"] >= 9


def test_a_key_that_was_passed_over_comes_first_when_it_can_be_served() -> None:
    queue = queue_of("stuck", "old")
    for _ in range(10):
        queue.serve("old", 1.0)
    assert queue.first() == "stuck"


def test_a_correction_moves_the_account_and_not_the_present() -> None:
    queue = queue_of("a", "b")
    queue.serve("a", 1.0)
    queue.charge("a", 1_000.0)
    queue.add("c")
    queue.activate("c")
    given = serve(queue, 100)
    assert "a" not in given
    assert abs(given["b"] - given["c"]) <= 1
    queue.charge("a", -1_000.0)
    assert queue.first() == "a"


def test_a_removed_key_is_gone_and_charging_it_is_harmless() -> None:
    queue = queue_of("a", "b")
    queue.remove("a")
    queue.charge("a", 5.0)
    queue.serve("a", 5.0)
    assert "a" not in queue
    assert queue.first() == "b"
    assert list(queue) == ["b"]


def test_activating_twice_is_activating_once() -> None:
    queue = queue_of("a")
    queue.activate("a")
    queue.deactivate("a")
    assert queue.first() is None


def test_the_heap_stays_in_proportion() -> None:
    queue = queue_of("low", "a", "b")
    for _ in range(10_000):
        for key in ("a", "b"):
            queue.deactivate(key)
            queue.activate(key)
            queue.serve(key, 1.0)
    assert len(queue._heap) < 200


@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=6),
    costs=st.lists(st.integers(1, 20), min_size=2, max_size=6),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=60, deadline=None)
def test_backlogged_keys_never_drift_apart(weights: list[float], costs: list[int], seed: int) -> None:
    """Start-time fair queueing's bound: the lag between two backlogged keys is at most one service each."""
    rng = random.Random(seed)
    queue: FairQueue[int] = FairQueue()
    for key, weight in enumerate(weights):
        queue.add(key, weight)
        queue.activate(key)
    given = [0.0] * len(weights)
    most = max(costs)
    for _ in range(300):
        key = queue.first()
        assert key is not None
        cost = float(rng.choice(costs))
        queue.serve(key, cost)
        given[key] += cost
        for one, weight in enumerate(weights):
            for other, other_weight in enumerate(weights):
                lag = given[one] / weight - given[other] / other_weight
                assert lag <= most / weight + most / other_weight + 1e-6


STEPS = st.tuples(st.sampled_from(["on", "off", "serve", "charge", "gone"]), st.integers(0, 4))


@given(st.lists(STEPS, max_size=60))
@settings(max_examples=100, deadline=None)
def test_first_is_always_an_active_key_with_the_least_account(steps: list[tuple[str, int]]) -> None:
    queue: FairQueue[int] = FairQueue()
    for key in range(5):
        queue.add(key)
    active: set[int] = set()
    known = set(range(5))
    for what, key in steps:
        if key not in known:
            continue
        if what == "on":
            queue.activate(key)
            active.add(key)
        elif what == "off":
            queue.deactivate(key)
            active.discard(key)
        elif what == "serve":
            queue.serve(key, 1.5)
        elif what == "charge":
            queue.charge(key, -0.5)
        else:
            queue.remove(key)
            active.discard(key)
            known.discard(key)
        assert set(queue) == active
        first = queue.first()
        assert (first is None) == (not active)
        if first is not None:
            least = min(queue._virtual_time[key] for key in active)
            assert queue._virtual_time[first] == pytest.approx(least)
        odd = queue.first_that(lambda key: key % 2 == 1)
        assert (odd is None) == (not any(key % 2 for key in active))
        assert queue.first() == first
