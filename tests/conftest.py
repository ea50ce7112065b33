"""What holds for all tests."""

from __future__ import annotations

import gc
import sys

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does than about what is tested.
settings.register_profile("achilles", deadline=None)
settings.load_profile("achilles")


def pytest_collection_finish() -> None:
    """Thousands of tests, and all that they imported, need not be looked through at every collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _expects_nothing() -> None:
    """How long functions took in other tests must not decide how this one begins."""
    if (module := sys.modules.get("achilles.engines.task_times")) is not None:
        module.of_program.forget()
