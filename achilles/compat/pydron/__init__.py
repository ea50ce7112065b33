"""pydron's two decorators, and its ``pydron.conf``, on achilles.

::

    from achilles.compat import pydron

    @pydron.schedule
    def calibration_pipeline(inputs): ...

    @pydron.functional
    def process(input): ...

`functional` is `achilles.functional`, and a scheduled function is one of `achilles.schedule`; what is
different is where it runs. Each call of it looks for a ``pydron.conf`` (see `achilles.compat.pydron.conf`),
and without one it runs where the settings say, as all of achilles does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ...scheduling import functional
from ...scheduling import schedule as _schedule
from .workers import configured_calls

__all__ = ["functional", "schedule"]

F = TypeVar("F", bound=Callable[..., Any])


def schedule(function: F) -> F:
    """A function whose functional calls run at the same time, where ``pydron.conf`` says.

    Args:
        function: A function whose source can be read. See `achilles.schedule`.

    Returns:
        A function with the same arguments, result and exceptions, in the same order. A call of it may raise
        ConfigError or UnsupportedByEngine besides, before anything of it ran: ``pydron.conf`` is wrong, or
        asks for workers that can't be started.
    """
    return _schedule(function, calls=configured_calls)
