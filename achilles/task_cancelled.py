"""The one error that is also one of `concurrent.futures`, which nobody should load who needs neither."""

from __future__ import annotations

from concurrent.futures import CancelledError

from achilles.errors import TaskError

__all__ = ["TaskCancelled"]


class TaskCancelled(TaskError, CancelledError):
    """The job, or this item of it, was cancelled before the item was done. Fields: ``index``, ``node``."""
