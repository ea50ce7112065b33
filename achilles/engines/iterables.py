"""What arguments are drawn from: any iterable, and how those are told apart that never take their time.

Lists, tuples, ranges and bytes have iterators of which nobody notices when they are drawn from, so that all
can be drawn at once, and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

__all__ = ["QUICK", "iterate", "next_of", "source_of"]

QUICK = frozenset({type(iter([])), type(iter(())), type(iter(range(0))), type(iter(b""))})
"""The iterators of those."""

_SLICED = frozenset({list, tuple})


def iterate(args: Iterable[Any] | Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """An iterator over the arguments: any iterable, or a generator function, which is called here.

    Raises:
        TypeError: ``args`` is neither.
    """
    # Of the type: a class such as itertools.count has the method for its instances, and is called.
    if callable(args) and not hasattr(type(args), "__iter__"):
        made = args()
        if not hasattr(made, "__iter__"):
            raise TypeError(
                f"args is a function that returned {type(made).__name__}; pass a list, another "
                f"iterable, or a generator function without parameters"
            )
        return iter(made)
    try:
        return iter(args)  # type: ignore[arg-type]  # else this raises
    except TypeError:
        raise TypeError(
            f"args must be a list, another iterable, or a generator function, not "
            f"{type(args).__name__}: to run the function on one argument, pass [argument]"
        ) from None


def source_of(iterator: Any) -> tuple[Any, int] | None:
    """What a quick iterator goes over, and where it is; None of others, or at its end."""
    if type(iterator) not in QUICK:
        return None
    state = iterator.__reduce__()
    return (state[1][0], state[2] or 0) if len(state) > 2 else None


def next_of(iterator: Any, most: int) -> Iterable[Any]:
    """So many of what comes next, or fewer; of a list or tuple without taking each in turn."""
    found = source_of(iterator)
    if found is None or type(found[0]) not in _SLICED:
        return islice(iterator, most)
    source, place = found
    some: Iterable[Any] = source[place : place + most]
    iterator.__setstate__(place + most)
    return some
