"""Results that stay on nodes in scheduled functions: what is changed, what is lost, what is let go of."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import achilles
from achilles import KeptLost, Pool, kept
from achilles.scheduling import functional, remaking, schedule
from tests.integration.cluster.conftest import nothing_left, place
from tests.integration.cluster.kept_values import (
    Array,
    Two,
    memory_files,
    no_more_than,
    own_memory_files,
)
from tests.integration.cluster.parties import Place, wait_until

__all__ = ["nothing_left", "place"]

LENGTH = 50_000  # 400 kB, which stay
ROUNDS = 3


@pytest.fixture(autouse=True)
def collected(nothing_left: None) -> Iterator[None]:
    """Tracebacks of expected errors hold handles, in cycles."""
    yield
    gc.collect()


@pytest.fixture
def two(place: Place) -> Iterator[Two]:
    found = Two(place, near=True, workers=1)
    try:
        yield found
    finally:
        found.cluster.close()


@pytest.fixture(scope="module")
def embedded() -> Iterator[Pool]:
    with Pool(2, address="local") as pool:
        pool.keep_async(made, (1,)).get(30)  # its thread is there for all tests
        yield pool


@functional
def made(number: int) -> Array:
    return np.full(LENGTH, float(number))


@functional
def doubled(array: Array) -> Array:
    return array * 2


@functional
def total(arrays: list[Array]) -> float:
    return float(sum(array.sum() for array in arrays)) / LENGTH


@functional
def fails(number: int) -> Any:
    raise ValueError(number)


class Losing:
    """Ends the nodes of a cluster, once another one is there."""

    def __init__(self, two: Two) -> None:
        self._two = two

    def __call__(self) -> None:
        cluster = self._two.cluster
        before = list(cluster.nodes)
        cluster.start_node(1)
        for node in before:
            cluster.end_node(node, signal.SIGKILL)


# What the program does with values.


def changed(first: int) -> tuple[float, float, float, bool]:
    array = made(first)
    before = total([array])
    array[0] += LENGTH
    after = total([array])
    other = doubled(array)
    array[0] += LENGTH
    return before, after, total([other]), array is not other


def test_what_the_program_changed_is_sent_as_it_is_now(embedded: Pool) -> None:
    assert schedule(changed, pool=embedded)(1) == changed(1) == (1.0, 2.0, 4.0, True)


def test_a_value_is_fetched_once_and_writable(embedded: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[kept.Kept] = []
    value = kept.Kept.value
    monkeypatch.setattr(kept.Kept, "value", lambda handle: (fetched.append(handle), value(handle))[1])

    @schedule(pool=embedded)
    def run() -> tuple[Array, Array, float]:
        array = made(3)
        array[1] = 7.0
        same = array
        found = total([array, doubled(made(1))])
        return array, same, found

    array, same, found = run()
    assert len(fetched) == 1
    assert array is same and array[:3].tolist() == [3.0, 7.0, 3.0]
    assert found == pytest.approx(5.0, abs=1e-3)


# What is let go of.


def left_early(count: int) -> list[Array]:
    fails(count)
    return [doubled(made(number)) for number in range(count)]


def many(count: int) -> float:
    found = 0.0
    for number in range(count):
        found += total([doubled(made(number))])
    return found


def test_nothing_is_left_on_this_machine() -> None:
    with Pool(2, address="local") as pool:
        before = own_memory_files()
        assert schedule(many, pool=pool)(20) == many(20)
        wait_until(lambda: own_memory_files() <= before, what="for what was needed")
        for _ in range(ROUNDS):
            with pytest.raises(ValueError):
                schedule(left_early, pool=pool)(8)
        gc.collect()  # the errors' tracebacks
        wait_until(lambda: own_memory_files() <= before, what="for what was cancelled")


def test_nothing_is_left_on_nodes(two: Two) -> None:
    with two.pool() as pool:
        assert schedule(many, pool=pool)(4) == many(4)
        before = [memory_files(node) for node in two.nodes]
        assert schedule(many, pool=pool)(20) == many(20)
        for _ in range(ROUNDS):
            with pytest.raises(ValueError):
                schedule(left_early, pool=pool)(8)
        gc.collect()
        for node, most in zip(two.nodes, before, strict=True):
            no_more_than(node, most)


# What is lost.


def pipeline(count: int, lose: Any) -> tuple[float, list[Array]]:
    arrays = [made(number) for number in range(count)]
    arrays = [doubled(array) for array in arrays]
    lose()
    found = total(arrays)
    more = [doubled(array) for array in arrays]
    lose()
    return found, more


def test_what_was_lost_is_made_again(two: Two) -> None:
    with two.pool() as pool:
        found, more = schedule(pipeline, pool=pool)(6, Losing(two))
    assert found == 30.0
    assert [array[0] for array in more] == [4.0 * number for number in range(6)]


def test_only_what_is_needed_is_made_again(two: Two) -> None:
    """Of results that the program let go of, it is known how they were made."""
    losing = Losing(two)

    def run(number: int) -> float:
        array = made(number)
        for _ in range(5):
            array = doubled(array)
        kept_on = doubled(array)
        losing()
        return total([kept_on])

    with two.pool() as pool:
        assert schedule(run, pool=pool)(1) == 64.0


def test_what_cannot_be_made_again_is_told_in_its_place(two: Two) -> None:
    losing = Losing(two)
    large = np.ones(LENGTH)  # too much to be noted

    def run(given: Array) -> tuple[str, float]:
        said = ""
        array = doubled(given)
        other = doubled(made(1))
        losing()
        try:
            total([array, other])
        except KeptLost as error:
            said = str(error.reason)
        return said, total([other])

    with two.pool() as pool:
        said, found = schedule(run, pool=pool)(large)
    assert "its node is gone" in said
    assert found == 2.0


def test_recipes_note_arguments_as_they_are() -> None:
    shared = [1, 2.5, "three"]
    array = np.arange(3)
    recipe = remaking.Recipe.of(total, (shared, {"x": (shared, array)}), {"k": len})
    assert recipe is not None and recipe.generations == 1
    shared.append(4)
    array[0] = 9
    function, (one, nested), kwargs = recipe.call(achilles)  # it isn't needed
    assert function is total and one == [1, 2.5, "three"] and kwargs == {"k": len}
    assert nested["x"][0] is one and nested["x"][1].tolist() == [0, 1, 2]
    for too_much in (np.zeros(LENGTH), list(range(remaking.MOST_ELEMENTS)), "x" * 100_000):
        assert remaking.Recipe.of(total, (too_much,), {}) is None
