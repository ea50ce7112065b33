"""The error of dead workers: also one of `concurrent.futures.process`, which takes long to load."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from achilles.errors import TaskError

__all__ = ["WorkerDiedError"]


class WorkerDiedError(TaskError, BrokenProcessPool):
    """The worker process died while it ran this item, on every attempt. The pool lives on.

    It is also what `concurrent.futures` raises then, so programs catch it that were written for its
    executors.

    Fields: ``index``, ``attempts``, ``exit_code`` (negative: the signal's number), ``node``,
    ``peak_rss_bytes`` (the worker's, None when unknown), ``stderr`` (the end of what it wrote there).
    """
