"""Named shapes of scenarios, and how to play one of them again."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.scenario import Scenario, crowd, small, wide
from tests.simulation.world import World

SHAPES: dict[str, Callable[[int], Scenario]] = {
    "small": small,
    "crowd": crowd,
    "hundreds": lambda seed: wide(seed, 300),
    "thousands": lambda seed: wide(seed, 2_500, tasks=4_000),
    "tens_of_thousands": lambda seed: wide(seed, 10_000, job_count=300, tasks=400),
}


def reproduction(seed: int, shape: str) -> str:
    """The command that plays a seed again."""
    return f"python -m tests.simulation --seed {seed} --shape {shape}"


def play(seed: int, shape: str = "small") -> World:
    """Play one seed to its end; a broken promise is raised with its reproduction noted."""
    try:
        return World(SHAPES[shape](seed)).run()
    except Exception as error:
        error.add_note(f"reproduce with: {reproduction(seed, shape)}")
        raise
