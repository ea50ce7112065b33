"""The running interpreter's own tests of `multiprocessing.Pool`, unchanged, on `achilles.Pool`.

Left out, with the reason:

- on the cluster, ``test_make_pool``: it counts the entries of the private ``_pool``, and there the nodes say
  how many workers there are;
- ``test_unpickleable_result``: its result is a lambda, which comes back from ours and works. The same test
  stands below with a result that really cannot travel.
"""

from __future__ import annotations

import multiprocessing
import unittest
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.pool import MaybeEncodingError
from typing import Any

import pytest

import achilles
from tests.integration.cluster.parties import Cluster

# Debian has it in a package of its own.
standard = pytest.importorskip("test._test_multiprocessing")

_where: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def _cluster(pair: Cluster) -> None:
    _where.update(pair.address)


@pytest.fixture(scope="module", autouse=True)
def _standard_setting() -> Iterator[None]:
    """What `install_tests_in_module_dict` of the standard library's tests does."""
    with pytest.MonkeyPatch.context() as patch:
        # Everything else that these tests start is started as we start workers.
        patch.setattr(multiprocessing, "Pool", partial(achilles.Pool, address="local"))
        yield


def _on_cluster(*args: Any, **kwargs: Any) -> achilles.Pool:
    return achilles.Pool(*args, **kwargs, **_where)


class TestEmbedded(standard._TestPool, unittest.TestCase):
    """On this machine's cores."""

    TYPE = "processes"
    Pool = staticmethod(partial(achilles.Pool, address="local"))


class TestCluster(standard._TestPool, unittest.TestCase):
    """On two nodes."""

    TYPE = "processes"
    Pool = staticmethod(_on_cluster)
    test_make_pool = None


class TestWorkerErrorsEmbedded(standard._TestPoolWorkerErrors, unittest.TestCase):
    """Results that cannot travel, on this machine's cores."""

    TYPE = "processes"
    test_unpickleable_result = None


class TestWorkerErrorsCluster(standard._TestPoolWorkerErrors, unittest.TestCase):
    """Results that cannot travel, on two nodes."""

    TYPE = "processes"
    test_unpickleable_result = None

    def setUp(self) -> None:
        before = multiprocessing.Pool
        self.addCleanup(setattr, multiprocessing, "Pool", before)
        multiprocessing.Pool = _on_cluster


def returns_generator() -> Any:
    """What no pickler can send."""
    return (item for item in ())


def returns_lambda() -> Any:
    """What the standard library's cannot send, and ours can."""
    return lambda: 42


@pytest.mark.parametrize("times", [20])
def test_result_that_cannot_travel(pools: Callable[..., achilles.Pool], times: int) -> None:
    with pools(2) as pool:
        for _ in range(times):
            told: list[BaseException] = []
            result = pool.apply_async(returns_generator, error_callback=told.append)
            with pytest.raises(MaybeEncodingError) as caught:
                result.get()
            assert told == [caught.value]
            assert caught.value.exc is not None and caught.value.value is not None
            assert isinstance(caught.value, achilles.SerializationError)
        assert pool.apply(returns_lambda)() == 42
    pool.join()
