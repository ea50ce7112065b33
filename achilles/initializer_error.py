"""The one error that is also one of `concurrent.futures.process`, which takes long to load."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from achilles.errors import TaskError

__all__ = ["InitializerError"]


class InitializerError(TaskError, BrokenProcessPool):
    """A pool's initializer raised in a worker, so no task could run there.

    The remote traceback of what it raised is the cause.
    """
