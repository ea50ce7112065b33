"""Libraries that take a pool, or its ``map``: the same results as without, to the last bit."""

from __future__ import annotations

import functools
from typing import Any

import pytest

np = pytest.importorskip("numpy")

from tests.ecosystem import functions

SEED = 20_260


def test_scipy_differential_evolution(pool: Any) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    evolve = functools.partial(
        optimize.differential_evolution,
        functions.rosenbrock,
        [(-3.0, 3.0)] * 3,
        rng=SEED,
        maxiter=8,
        popsize=8,
        polish=False,
        updating="deferred",
    )
    ours, serial = evolve(workers=pool.map), evolve(workers=map)
    assert np.array_equal(ours.x, serial.x)
    assert ours.fun == serial.fun
    assert ours.nfev == serial.nfev > 100
    assert np.array_equal(ours.population, serial.population)


def test_emcee_ensemble_sampler(pool: Any) -> None:
    emcee = pytest.importorskip("emcee")

    def chain(**options: Any) -> Any:
        random = np.random.RandomState(SEED)
        start = emcee.State(random.normal(size=(12, 3)), random_state=random.get_state())
        widths = np.array([1.0, 2.0, 0.5])
        sampler = emcee.EnsembleSampler(12, 3, functions.log_probability, args=[widths], **options)
        sampler.run_mcmc(start, 15)
        return sampler

    ours, serial = chain(pool=pool), chain()
    assert np.array_equal(ours.get_chain(), serial.get_chain())
    assert np.array_equal(ours.get_log_prob(), serial.get_log_prob())
    assert len(np.unique(ours.get_chain())) > 100


def test_arrays_of_100_megabytes(pool: Any) -> None:
    array = np.arange(100 * 2**20 // 8, dtype=np.float64)
    (result,) = pool.map(functions.negated, [array])
    assert result.dtype == array.dtype and result.flags.writeable
    np.negative(array, out=array)  # in place, for the sake of memory
    assert np.array_equal(result, array)


def test_pandas_groups(pool: Any) -> None:
    pandas = pytest.importorskip("pandas")
    random = np.random.RandomState(SEED)
    size = 20_000
    frame = pandas.DataFrame(
        {
            "city": pandas.Categorical(random.choice(["Ulm", "Bonn", "Trier"], size)),
            "name": random.choice(["Ada", "Zuse", None], size),
            "amount": random.exponential(size=size),
            "at": pandas.to_datetime(random.randint(0, 10**9, size), unit="s"),
        }
    )
    columns = ["name", "amount", "at"]
    groups = frame.groupby("city", observed=True, group_keys=False)[columns]
    ours = pandas.concat(pool.map(functions.shares, [group for _, group in groups])).sort_index()
    pandas.testing.assert_frame_equal(ours, groups.apply(functions.shares).sort_index(), check_exact=True)
    assert list(ours.index) == list(frame.index)
