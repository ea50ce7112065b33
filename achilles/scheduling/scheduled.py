"""What stands behind a scheduled function: its original, its translation, and who runs its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from inspect import isgeneratorfunction
from types import CellType, FunctionType
from typing import Any

from ..workers.leaving import within_worker
from .activation import INERT, Activation, Inert, Run
from .code import ScheduledCode
from .functional import functional, is_functional
from .passes.entering import RUN
from .provision import Provider, provision
from .source import parsed
from .translation import Translation, check_source, stub

__all__ = ["Scheduled", "scheduled_function", "scheduled_of"]


class Scheduled:
    """A scheduled function's own, in a free variable of its code.

    It is translated at its first call: only then are the functions that it calls defined. From then on its
    code is the translation, so that no frame of ours is in its tracebacks.

    Args:
        original: The function as it was written.
        provider: Who runs functional calls.
        pure: Functions without side effects that are cheap: foresight calls them itself.

    Attributes:
        original: The function as it was written.
        explains: Whether to print what is known of it at the first call.
    """

    def __init__(
        self, original: FunctionType, provider: Provider, pure: tuple[Callable[..., Any], ...] = ()
    ) -> None:
        self.original = original
        self.explains = False
        self._provider = provider
        self._pure = pure
        self._function: FunctionType
        self._code: ScheduledCode | None = None
        self._translations: list[Translation] = []
        self._lock = threading.Lock()

    @property
    def code(self) -> ScheduledCode:
        """What is known of its source; made at first need.

        Raises:
            OSError: The source can't be had.
        """
        with self._lock:
            return self._current()

    def first(self) -> Callable[..., Any]:
        """Translate the function: what the stub calls then, instead of itself."""
        with self._lock:
            self._translate()
            explains, self.explains = self.explains, False
        if explains:
            from .explaining import explain

            print(explain(self.code))
        return self._function

    def enter(self, number: int) -> Activation | Inert:
        """The function was called: an activation of it.

        Args:
            number: Which translation of it runs.
        """
        if within_worker():
            return INERT
        translation = self._translations[number]
        if translation.code.callees.changed():
            with self._lock:
                self._translate()  # for the next call
        return Activation(Run(translation, provision(self._provider)))

    def _current(self) -> ScheduledCode:
        if self._code is None or self._code.callees.changed():
            self._code = ScheduledCode(self.original, self._pure)
        return self._code

    def _translate(self) -> None:
        code = self._current()
        if not self._translations or self._translations[-1].code is not code:
            self._translations.append(Translation(code, len(self._translations)))
            self._function.__code__ = self._translations[-1].made

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled function runs in a task, where all is done in place.
        return Unscheduled, (self.original,)


class Unscheduled:
    """What stands behind a scheduled function that came from another process: it runs as it was written."""

    def __init__(self, original: FunctionType) -> None:
        self.original = original

    def first(self) -> Callable[..., Any]:
        """The original."""
        return self.original

    def enter(self, number: int) -> Inert:
        """Nothing to schedule."""
        return INERT


def scheduled_function(
    original: FunctionType, provider: Provider, pure: tuple[Callable[..., Any], ...]
) -> FunctionType:
    """A function as another, whose functional calls run in parallel.

    Raises:
        OSError, TypeError, SyntaxError: See `source.parsed`.
    """
    tree, class_name = parsed(original)
    check_source(tree, original, class_name)
    scheduled = Scheduled(original, provider, pure)
    code = stub(original, generator=isgeneratorfunction(original))
    cells = dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))
    cells[RUN] = CellType(scheduled)
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, original.__globals__, original.__name__, original.__defaults__, closure)
    made.__kwdefaults__ = original.__kwdefaults__
    made.__annotations__ = original.__annotations__
    made.__qualname__, made.__module__, made.__doc__ = (
        original.__qualname__,
        original.__module__,
        original.__doc__,
    )
    made.__dict__.update(original.__dict__)
    made.__wrapped__ = original  # type: ignore[attr-defined]
    scheduled._function = made
    return functional(made) if is_functional(original) else made


def scheduled_of(function: Any) -> Scheduled | None:
    """What stands behind a scheduled function, or a method that is one; None for any other object."""
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType) or function.__closure__ is None:
        return None
    for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
        if name == RUN and isinstance(cell.cell_contents, Scheduled):
            return cell.cell_contents
    return None
