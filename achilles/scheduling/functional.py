"""The mark that lets a scheduled function start calls of a function early, and elsewhere.

Marks are kept by identity, not as attributes: `functools.wraps` would copy an attribute to a wrapper that may
have side effects, and built-ins and ufuncs take none.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import MethodType
from typing import Any, TypeVar

__all__ = ["functional", "is_functional", "marked_names"]

F = TypeVar("F", bound=Callable[..., Any])

# By id: what was marked, weakly where that is possible. An entry goes with its function.
_marked: dict[int, Any] = {}
# The names that marked functions have, so that calls of methods with other names need no question.
marked_names: set[str] = set()

_LAZY = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


def functional(function: F) -> F:
    """Say that calls of a function may run early, several at once, and in another process.

    The contract: it has no side effects and reads no global state that changes; its arguments, result and
    exceptions can be pickled; it doesn't modify its arguments. Called outside of a scheduled function it is
    the function that it was. ::

        @achilles.functional
        def process(frame): ...

        achilles.functional(numpy.fft.fft)

    Args:
        function: A function, yours or somebody else's; a class, or any other callable that can be pickled.

    Returns:
        The same object.

    Raises:
        TypeError: It can't be called, or is a generator or coroutine function, whose call does nothing yet.
    """
    inner = function.__func__ if isinstance(function, staticmethod | classmethod | MethodType) else function
    if not callable(inner):
        raise TypeError(f"functional() marks functions; {function!r} can't be called")
    code = getattr(inner, "__code__", None)
    if getattr(code, "co_flags", 0) & _LAZY:
        raise TypeError(
            f"{getattr(inner, '__qualname__', inner)} is a generator or coroutine function: its call only "
            "makes an object that does the work later, in the caller. Mark a function that returns its "
            "result, for example as a list."
        )
    name = getattr(inner, "__name__", None)
    if isinstance(name, str):
        marked_names.add(name)
    number = id(inner)
    try:
        _marked[number] = weakref.ref(inner, lambda _: _marked.pop(number, None))
    except TypeError:
        _marked[number] = inner
    return function


def is_functional(candidate: Any) -> bool:
    """Whether an object was marked, or is a bound method of a function that was."""
    if type(candidate) is MethodType:
        return id(candidate.__func__) in _marked
    return id(candidate) in _marked
