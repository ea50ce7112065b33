"""DEAP, whose classes of individuals are made by the script and belong to no module's source."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cluster.parties import Place, run_program

pytest.importorskip("deap")

PROGRAM = """
import random
import sys

from deap import algorithms, base, creator, tools

import achilles

creator.create("FitnessMax", base.Fitness, weights=(1.0,))
creator.create("Individual", list, fitness=creator.FitnessMax, strategy=None)


def ones(individual):
    assert type(individual) is creator.Individual and isinstance(individual.fitness, creator.FitnessMax)
    return (sum(individual),)


def evolve(map_):
    random.seed(20_260)
    toolbox = base.Toolbox()
    toolbox.register("bit", random.randint, 0, 1)
    toolbox.register("individual", tools.initRepeat, creator.Individual, toolbox.bit, 40)
    toolbox.register("population", tools.initRepeat, list, toolbox.individual)
    toolbox.register("evaluate", ones)
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
    toolbox.register("select", tools.selTournament, tournsize=3)
    toolbox.register("map", map_)
    best = tools.HallOfFame(3)
    population, log = algorithms.eaSimple(
        toolbox.population(n=30), toolbox, cxpb=0.5, mutpb=0.2, ngen=8, halloffame=best, verbose=False
    )
    scores = [individual.fitness.values for individual in population]
    return population, scores, list(best), log.select("nevals")


serial = evolve(map)
with achilles.Pool(2, address=sys.argv[1]) as pool:
    print("equal:", evolve(pool.map) == serial, "evaluations:", sum(serial[3]) > 100)
"""


def test_deap_in_a_script(place: Place, where: dict[str, Any]) -> None:
    lines = run_program(place, "onemax.py", PROGRAM, where["address"])
    assert lines[-1] == "equal: True evaluations: True"
