"""How long the tasks of functions took when those were mapped last.

A job of which nothing is known begins with short units, and with fewer arguments than it could draw at
once, until its first results are there. Who maps the same function again need not find that out again. An
expectation may be wrong by any factor, since arguments differ: it says how to begin, and no more once the
first result is there.

Rules:

1. A function is known by the code that it runs: partials of it, methods' objects and what is wrapped around
   it come and go. What has no code of its own is known by its type. None of the user's code runs for that.
2. The last job of it counts; but if that took longer, not at once in full, since what else the machine was
   at makes tasks slower, and nothing makes them faster.
3. So many functions are remembered; the one that ended longest ago is forgotten.
4. No lock: a finalizer, or a forked child, may come here at any moment. All that two threads can do to each
   other here is to have something forgotten.
"""

from __future__ import annotations

from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from ..core.means import without_units
from ..core.tally import Tally

__all__ = ["MOST_FUNCTIONS", "TaskTimes", "of_program"]

MOST_FUNCTIONS = 256
# Wrappers around wrappers are looked into so far.
MOST_WRAPPERS = 8
# So much of it counts if tasks took longer than before.
SLOWER_SHARE = 0.3


class TaskTimes:
    """Expectations of functions, the one that was noted last at the end."""

    def __init__(self) -> None:
        self._times_ns: dict[object, float] = {}

    def expected_ns(self, func: Any) -> float | None:
        """How long a task of the function took, on average, when it was mapped last; None if it never was."""
        return self._times_ns.get(_code_of(func))

    def forget(self) -> None:
        """Expect nothing any more."""
        self._times_ns.clear()

    def note(self, func: Any, tally: Tally) -> None:
        """A job of the function is done."""
        if not tally.tasks:
            return
        key = _code_of(func)
        task_ns = without_units(tally.busy_us * 1000.0, tally.units) / tally.tasks
        before_ns = self._times_ns.pop(key, None)
        if before_ns is not None and task_ns > before_ns:
            task_ns = before_ns + SLOWER_SHARE * (task_ns - before_ns)
        self._times_ns[key] = task_ns
        if len(self._times_ns) > MOST_FUNCTIONS:
            try:
                self._times_ns.pop(next(iter(self._times_ns)), None)
            except (RuntimeError, StopIteration):
                pass  # another thread is at it


def _code_of(func: Any) -> object:
    """What a function is known by."""
    for _ in range(MOST_WRAPPERS):
        if isinstance(func, partial):
            func = func.func
        elif isinstance(func, MethodType):
            func = func.__func__
        elif isinstance(func, FunctionType):
            inner = func.__dict__.get("__wrapped__")
            if inner is None:
                return func.__code__
            func = inner
        elif type(func).__module__.startswith("achilles."):
            inner = vars(func).get("func") if hasattr(func, "__dict__") else None
            if inner is None:
                break
            func = inner
        else:
            break
    named = func if isinstance(func, type | BuiltinFunctionType) else type(func)
    return str(named.__module__), named.__qualname__


of_program = TaskTimes()
"""Those of all jobs of this program."""
