"""So many threads for numeric libraries while one function runs.

Workers start with the limits of their share of the cores (`achilles.workers.process.thread_limits`). Who
wants others for one call gets them for its tasks alone: a node's worker serves others as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ..workers.process import THREAD_LIMIT_VARIABLES

__all__ = ["WithThreads"]


class WithThreads:
    """A function without arguments that numeric libraries serve with so many threads.

    Args:
        func: What to call.
        threads: How many threads BLAS and OpenMP may use in it. Libraries that are loaded already are told by
            threadpoolctl where it is installed; those loaded later, and child processes, by variables.
    """

    def __init__(self, func: Callable[[], Any], threads: int) -> None:
        self.func = func
        self.threads = threads

    def __call__(self) -> Any:
        with _variables(str(self.threads)), _loaded_libraries(self.threads):
            return self.func()


@contextmanager
def _variables(limit: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_LIMIT_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_LIMIT_VARIABLES, limit))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _loaded_libraries(threads: int) -> Any:
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(threads)
