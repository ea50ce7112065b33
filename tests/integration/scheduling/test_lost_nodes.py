"""A node dies that kept results of a scheduled function: they are made again on another."""

from __future__ import annotations

import signal
from typing import Any

from achilles.scheduling import functional, schedule
from tests.integration.cluster.conftest import nothing_left, place
from tests.integration.cluster.kept_values import SIZE, Array, Two, numbers
from tests.integration.cluster.parties import Place, wait_until

__all__ = ["nothing_left", "place"]


@functional
def made(first: float) -> Array:
    return numbers(SIZE, first)


@functional
def shifted(array: Array, by: float) -> Array:
    return array + by


@functional
def second_ones(*arrays: Array) -> list[float]:
    return [float(array[1]) for array in arrays]


def test_results_that_a_node_kept_are_made_again(place: Place, nothing_left: None) -> None:
    two = Two(place, near=True)

    def lose_a_node() -> None:
        two.cluster.end_node(two.nodes[0], signal.SIGKILL)
        wait_until(lambda: len(pool.status()["nodes"]) == 1, what="the server hears of it")

    def pipeline() -> Any:
        arrays = [shifted(made(float(i)), 1.0) for i in range(6)]
        few = shifted(arrays[0], 10.0)
        lose_a_node()
        found = second_ones(*arrays)
        return found, float(few[1]), [float(array[1]) for array in arrays]

    try:
        with two.pool() as pool:
            expected = [float(i + 2) for i in range(6)]
            assert schedule(pipeline, pool=pool)() == (expected, 12.0, expected)
    finally:
        two.cluster.close()
