"""Items that failed run again at once, in their worker: what ``retries`` asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["MOST_RETRIES", "Retrying", "check_retries"]

MOST_RETRIES = 1000


class Retrying:
    """The function, called again when it raises one of some exceptions; it is pickled with a job.

    Args:
        func: The function.
        times: How often an item is tried again.
        kinds: The exceptions.
    """

    def __init__(self, func: Callable[..., Any], times: int, kinds: tuple[type[BaseException], ...]) -> None:
        self.func = func
        self.times = times
        self.kinds = kinds
        # What errors and progress bars show.
        self.__qualname__ = getattr(func, "__qualname__", type(func).__name__)

    def __call__(self, item: Any) -> Any:
        """Run it; the last exception is raised."""
        for _ in range(self.times):
            try:
                return self.func(item)
            except self.kinds:
                pass
        return self.func(item)


def check_retries(retries: Any, retry_on: Any) -> tuple[type[BaseException], ...]:
    """The exceptions after which an item is tried again.

    Args:
        retries: How often.
        retry_on: A class of exceptions, or a tuple of them.

    Raises:
        TypeError, ValueError: One of them cannot be used.
    """
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries must be an int, not {type(retries).__name__}")
    if not 0 <= retries <= MOST_RETRIES:
        raise ValueError(f"retries must be between 0 and {MOST_RETRIES}, not {retries}")
    kinds = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"retry_on must be exception classes, not {kind!r}")
    return kinds
