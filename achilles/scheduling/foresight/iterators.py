"""What is left in an iterator that the real run is using, without taking it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from .plain_types import is_array
from .pure_calls import VIEWS
from .values import Unsafe

__all__ = ["ITERABLE", "over", "remaining"]

# Containers that are iterated over without running user code.
ITERABLE: Final = frozenset({list, tuple, str, bytes, range, dict, set, frozenset, *VIEWS})
# Their iterators, which a copy shares nothing with but the container.
_SEQUENCES: Final[tuple[Any, ...]] = ([], (), "", "é", b"", range(0), range(1 << 70))
_SHARING: Final[set[type]] = {type(iter(each)) for each in _SEQUENCES} | {
    type(reversed([])),
    type(reversed(())),
}
# What iterates by index, such as over NumPy's arrays.
_INDEXING: Final = type(iter(type("_Indexed", (), {"__getitem__": None})()))
# Iterators whose copies list what is left.
_MAPPINGS: Final[tuple[Any, ...]] = ({}, {}.values(), {}.items())
_LISTING: Final[set[type]] = {type(iter(each)) for each in (*_MAPPINGS, set())} | {
    type(reversed(each)) for each in _MAPPINGS
}
# Copying one of these takes as long as there are items left.
_MAX_LISTED: Final = 10_000
_COMBINING: Final = frozenset({enumerate, zip})


def over(value: Any) -> Iterator[Any]:
    """Iterate over a real container.

    Raises:
        Unsafe: Its iteration may run user code, or change something.
    """
    if type(value) in ITERABLE or (is_array(value) and value.ndim > 0):
        return iter(value)
    raise Unsafe(f"iteration over an object of type {type(value).__qualname__}")


def remaining(iterator: Any) -> Iterator[Any] | None:
    """An iterator over what another one would give from here on; that one is left as it is.

    Args:
        iterator: An iterator that a loop of the real run uses.

    Returns:
        The items, or None if they can't be had without effect.
    """
    kind = type(iterator)
    if kind in _SHARING or kind is _INDEXING:
        return _copied(iterator)
    if kind in _LISTING:
        return _copied(iterator) if iterator.__length_hint__() <= _MAX_LISTED else None
    if kind in _COMBINING:
        return _combined(iterator)
    return None


def _copied(iterator: Any) -> Iterator[Any] | None:
    function, args, *state = iterator.__reduce__()
    if type(args[0]) not in ITERABLE and not is_array(args[0]):
        return None  # a class of its own may say how to iterate
    made: Iterator[Any] = function(*args)
    if state and state[0] is not None:
        made.__setstate__(state[0])  # type: ignore[attr-defined]
    return made


def _combined(iterator: Any) -> Iterator[Any] | None:
    function, args, *state = iterator.__reduce__()
    inner = args[:1] if function is enumerate else args
    for place in range(len(inner)):
        # Held by the iterator (for a zip, that is the tuple), while it is counted, and for enumerate() by two
        # tuples here; who else holds it may use it elsewhere.
        if sys.getrefcount(inner[place]) > (2 if inner is args else 4):
            return None
    if function is enumerate:
        first = remaining(args[0])
        return None if first is None else enumerate(first, *args[1:])
    parts = [remaining(each) for each in args]
    if any(each is None for each in parts):
        return None
    return zip(*parts, strict=bool(state and state[0]))
