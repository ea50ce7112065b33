"""Results that stayed on a node that is gone are made again: functional calls may be repeated.

A handle knows the call that it came from, if its arguments are constants, containers of such (copied, since
they may be changed later), or handles with such a call of their own. What it knows holds no other handle, so
that nodes may let go of what the program has let go of.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..errors import KeptLost
from .calls import Calls, Handle, Started
from .foresight.verifying import is_lasting

__all__ = ["Recipe", "know", "made_again", "recipe_of", "repeated"]

# A longer chain of calls is not remembered: it would take too long to go through again, and memory.
MAX_CALLS = 64
# How often a call is made whose arguments are lost again and again.
ATTEMPTS = 3


class Recipe(NamedTuple):
    """A functional call that can be made again.

    Attributes:
        function: What is called.
        args: Its arguments; in place of handles, recipes.
        kwargs: The same by name.
        calls: How many calls it takes.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    calls: int


class _NotRepeatable(Exception):
    pass


def recipe_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recipe | None:
    """How to make a call again, asked right after it; None if that can't be told, or takes too many calls."""
    try:
        args, kwargs = _written((args, kwargs))
    except _NotRepeatable:
        return None
    calls = 1 + sum(each.calls for each in _recipes((args, kwargs)))
    return Recipe(function, args, kwargs, calls) if calls <= MAX_CALLS else None


def made_again(recipe: Recipe, calls: Calls) -> Any:
    """Make the calls of a recipe, one after the other. Blocks.

    Returns:
        The result, or a handle.

    Raises:
        BaseException: What a function raised; KeptLost if results are lost faster than they are made.
    """
    args, kwargs = _read((recipe.args, recipe.kwargs), calls)
    return repeated(recipe.function, args, kwargs, calls)


def repeated(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], calls: Calls
) -> Any:
    """Make a call whose arguments may be lost: those are made again before. Blocks.

    Returns:
        The result, or a handle, which knows how it was made.

    Raises:
        BaseException: What the function raised; KeptLost if an argument can't be made again.
    """
    recipe = recipe_of(function, args, kwargs)
    for attempt in range(ATTEMPTS):
        finished: deque[Started] = deque()
        started = calls.start(function, args, kwargs, finished)
        try:
            while not started.done:
                calls.wait(started, finished)
                finished.clear()
        except BaseException:
            started.cancel()
            raise
        if not started.failed:
            if type(started.outcome) is Handle and recipe is not None:
                know(started.outcome, recipe, calls)
            return started.outcome
        error: BaseException = started.outcome
        if type(error) is not KeptLost or attempt == ATTEMPTS - 1:
            raise error
        if not [handle.renew() for handle in _handles((args, kwargs)) if not handle.forced]:
            raise error
    raise AssertionError("unreachable")


def know(handle: Handle, recipe: Recipe, calls: Calls) -> None:
    """Tell a handle how its value can be made again."""
    handle.recipe = recipe
    handle.remake = lambda: made_again(recipe, calls)


def _written(value: Any) -> Any:
    kind = type(value)
    if kind is Handle:
        if value.forced or value.recipe is None:
            raise _NotRepeatable
        return value.recipe
    if kind is list or kind is tuple:
        return kind(map(_written, value))
    if kind is dict:
        return {_constant(key): _written(each) for key, each in value.items()}
    return _constant(value)


def _constant(value: Any) -> Any:
    if not is_lasting(value):
        raise _NotRepeatable
    return value


def _read(value: Any, calls: Calls) -> Any:
    kind = type(value)
    if kind is Recipe:
        return made_again(value, calls)
    if kind is list or kind is tuple:
        return kind([_read(each, calls) for each in value])
    return {key: _read(each, calls) for key, each in value.items()} if kind is dict else value


def _recipes(value: Any) -> Iterator[Recipe]:
    if type(value) is Recipe:
        yield value
    else:
        for each in _elements(value):
            yield from _recipes(each)


def _handles(value: Any) -> Iterator[Handle]:
    if type(value) is Handle:
        yield value
    else:
        for each in _elements(value):
            yield from _handles(each)


def _elements(value: Any) -> Any:
    kind = type(value)
    return value.values() if kind is dict else value if kind is list or kind is tuple else ()
