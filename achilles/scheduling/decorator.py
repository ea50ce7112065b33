"""`schedule`: the decorator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .scheduled import Scheduled, scheduled_function, scheduled_of

if TYPE_CHECKING:
    from ..pool import Pool
    from .code import ScheduledCode
    from .provision import Provider

__all__ = ["schedule", "scheduled_code"]

F = TypeVar("F", bound=Callable[..., Any])


@overload
def schedule(function: F) -> F: ...
@overload
def schedule(
    function: None = None,
    *,
    explain: bool = False,
    pool: Pool | None = None,
    address: str | None = None,
    pure: Iterable[Callable[..., Any]] = (),
    calls: Provider | None = None,
) -> Callable[[F], F]: ...
@overload
def schedule(
    function: F,
    *,
    explain: bool = False,
    pool: Pool | None = None,
    address: str | None = None,
    pure: Iterable[Callable[..., Any]] = (),
    calls: Provider | None = None,
) -> F: ...
def schedule(
    function: Any = None,
    *,
    explain: bool = False,
    pool: Pool | None = None,
    address: str | None = None,
    pure: Iterable[Callable[..., Any]] = (),
    calls: Provider | None = None,
) -> Any:
    """Run the functional calls of a function in parallel, and give exactly the sequential answer.

    The function runs in its order, in its caller's thread. While it waits for a call of a function that is
    marked with `functional`, later ones are started whose arguments are known already and that no sync-point
    separates from it. ::

        @achilles.schedule
        def pipeline(inputs):
            outputs = []
            for each in inputs:
                outputs = outputs + [process(each)]
            return outputs

    Args:
        function: A function made by a ``def``; a static or class method too. It may be a generator.
        explain: Print what was found in it, at its first call: call sites, dependencies and sync-points.
        pool: Where functional calls run; it stays its owner's. None: a pool of the program's own, made at
            first need and kept.
        address: ``"local"`` or ``"host:port"`` of a server, for that pool. Default: as configured.
        pure: Functions without side effects that are cheap, which may be called early in this process.
        calls: For other projects' decorators: a function whose result is a context that gives what runs the
            calls, entered for each outermost call of a scheduled function.

    Returns:
        The scheduled function. Its ``explain()`` prints what ``explain=True`` prints, ``__wrapped__`` is the
        function itself.

    Raises:
        OSError: The source of the function can't be had.
        SyntaxError: It holds ``async`` or ``await``.
        TypeError: It isn't a function that was made by a ``def``.
        ValueError: Both a pool and an address were given.
    """
    if function is None:
        return lambda each: schedule(
            each, explain=explain, pool=pool, address=address, pure=pure, calls=calls
        )
    if isinstance(function, staticmethod | classmethod):
        inner = schedule(
            function.__func__, explain=explain, pool=pool, address=address, pure=pure, calls=calls
        )
        return type(function)(inner)
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"schedule() reads the source of a function that was made by a def, and {function!r} has none: "
            "put @schedule directly above the def, below other decorators"
        )
    if pool is not None and address is not None:
        raise ValueError("give schedule() a pool or an address, not both: a pool has its own")
    provider = calls
    if provider is None:
        from .pool_calls import provider_for

        provider = provider_for(pool, address)
    made = scheduled_function(function, provider, tuple(pure))
    scheduled = scheduled_of(made)
    assert scheduled is not None
    made.explain = Explain(scheduled)  # type: ignore[attr-defined]
    scheduled.explains = explain
    return made


class Explain:
    """A scheduled function's ``explain``."""

    def __init__(self, scheduled: Scheduled) -> None:
        self._scheduled = scheduled

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Print the functional calls of the function, what they depend on, and its sync-points.

        Args:
            *args: Accepted as for the function; nothing is run.
            **options: See `achilles.scheduling.explaining.printing.explain_call`.
        """
        from .explaining.printing import explain_call

        return explain_call(self._scheduled.code, **options)


def scheduled_code(function: Any) -> ScheduledCode:
    """What is known of a scheduled function's source.

    Raises:
        TypeError: The function isn't scheduled.
    """
    scheduled = scheduled_of(function)
    if scheduled is None:
        raise TypeError(f"{function!r} is no scheduled function of this process")
    return scheduled.code
