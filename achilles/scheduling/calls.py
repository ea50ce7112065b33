"""The seam between a scheduled function and what runs its functional calls.

Everything above it (the real run, foresight) knows only these types; `pool_calls` puts them on a pool, tests
on a stub whose completions come in the order that they choose.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from operator import is_not
from typing import Any, Protocol

__all__ = ["Calls", "Fetchable", "Handle", "Origin", "Started", "forced", "plain"]


class Fetchable(Protocol):
    """A result that stayed on the node that made it. Pickles into arguments as a reference."""

    def value(self) -> Any:
        """Fetch it: a private, writable copy. Blocks."""


class Origin(Protocol):
    """Knows how a result was made."""

    def fetched(self, handle: Handle) -> Any:
        """The value of a handle that wasn't forced, made again if it was lost. Blocks."""


class Handle:
    """Stands for a result that stayed where it was made, in variables of a scheduled function.

    User code never sees one: the translation forces it first. Passed on as an argument it travels as a
    reference, until it was forced: from then on the caller may have changed the value, so the value travels.

    Attributes:
        forced: Whether `value` was asked for.
        origin: Knows how to make it again; None where it can't be lost.
    """

    __slots__ = ("__weakref__", "_content", "forced", "origin")

    def __init__(self, kept: Fetchable, origin: Origin | None = None) -> None:
        self._content: Any = kept
        self.forced = False
        self.origin = origin

    def value(self) -> Any:
        """The result, the same object at each call. The first one blocks until it is here.

        Raises:
            BaseException: It can't be fetched any more; then later calls try again.
        """
        if not self.forced:
            value = self._content.value() if self.origin is None else self.origin.fetched(self)
            self._content, self.forced = value, True
        return self._content

    @property
    def size_bytes(self) -> int:
        """How much the result takes where it stayed; 0 once it is here."""
        return 0 if self.forced else int(getattr(self._content, "size_bytes", 0))

    @property
    def content(self) -> Any:
        """What travels: the reference, or the value once it was forced."""
        return self._content

    def replace(self, other: Any) -> None:
        """The result was made again: what that gave, a handle or the value itself."""
        self.forced = type(other) is not Handle or other.forced
        self._content = other.content if type(other) is Handle else other

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return plain, (self._content,)


def plain(content: Any) -> Any:
    """What a pickled handle becomes: the value that its reference became on the way."""
    return content


def forced(value: Any) -> Any:
    """A value without handles: fetched if it is one, and the elements of a list, a dict or a tuple.

    Lists and dictionaries are changed in place, and stay the same objects.
    """
    kind = type(value)
    if kind is Handle:
        return value.value()
    if kind is list:
        for place, each in enumerate(value):
            if type(each) in _HOLDING:
                value[place] = forced(each)
    elif kind is dict:
        for key, each in value.items():
            if type(each) in _HOLDING:
                value[key] = forced(each)
    elif kind is tuple and any(type(each) in _HOLDING for each in value):
        changed = tuple(map(forced, value))
        return changed if any(map(is_not, changed, value)) else value
    return value


_HOLDING = frozenset([Handle, list, dict, tuple])


class Started(Protocol):
    """A functional call that was started.

    Attributes:
        done: Whether it is over. Set after ``failed`` and ``outcome``.
        failed: Whether it raised.
        outcome: The result (a `Handle` if it stayed on its node) or the exception; the same object at each
            reading. Only of meaning when it is done.
    """

    done: bool
    failed: bool
    outcome: Any

    def cancel(self) -> None:
        """Nobody wants the result. Harmless when repeated, or when it is done."""


class Calls(Protocol):
    """Runs functional calls somewhere.

    Attributes:
        slots: How many calls run at once; more should be under way, so that no slot waits.
    """

    @property
    def slots(self) -> int: ...

    def start(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        finished: deque[Started],
    ) -> Started:
        """Start a call, without waiting.

        Args:
            function: The functional function.
            args: Its arguments, serialized before this returns. May hold handles, nested anywhere.
            kwargs: The same by name.
            finished: Where the call is appended when it is done, from any thread; also when it failed or was
                cancelled, and also when it was done at once.

        Returns:
            The call. An argument that can't be serialized makes one that is done and failed, with the error
            that the caller of the function shall see.
        """

    def wait(self, started: Started, finished: deque[Started]) -> None:
        """Block until ``started`` is done, or ``finished`` isn't empty. Ctrl-C ends it."""
