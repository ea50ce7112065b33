"""What the instructions that evaluate share: operations on values of which some may be pending."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from .iterators import over
from .plain_types import COSTLY_ITEMS
from .values import (
    MODELS,
    UNBOUND,
    ListModel,
    Pending,
    Stream,
    TupleModel,
    Unsafe,
    concrete,
    is_concrete,
    pending_in,
    settled,
    unwrapped,
)
from .waiting import Deferred
from .walking import Stop, Walk

__all__ = ["applied", "as_tuple", "elements_of", "loaded", "refuse_streams", "whole"]


def applied(walk: Walk, function: Callable[..., Any], *operands: Any) -> Any:
    """The result of a safe operation: at once if the operands are known, else when they are.

    Raises:
        Unsafe: It isn't safe for these operands, or one of them can't be seen.
    """
    operands = tuple(unwrapped(each) for each in operands)
    if all(is_concrete(each) for each in operands):
        return function(*operands)
    if pending_in(operands):
        return Deferred(walk.ahead, function, operands).result
    made: dict[int, Any] = {}
    return function(*(concrete(each, made) for each in operands))


def whole(elements: list[Any]) -> Any:
    """A list of elements: a real one if all are known."""
    elements = [settled(each) for each in elements]
    if all(is_concrete(each) for each in elements):
        return elements
    refuse_streams(elements)
    return ListModel(elements)


def refuse_streams(elements: Iterable[Any]) -> None:
    if any(type(each) is Stream for each in elements):
        raise Unsafe("an iterator in a container, which may be used in several places")


def as_tuple(elements: Iterable[Any]) -> Any:
    """A tuple of elements: a real one if all are known."""
    made = tuple(settled(each) for each in elements)
    if all(is_concrete(each) for each in made):
        return made
    refuse_streams(made)
    return TupleModel(made)


def elements_of(value: Any) -> list[Any] | None:
    """The elements of a value that is iterated over at once; None if it is pending.

    Raises:
        Unsafe: Iterating over it may have an effect.
    """
    value = unwrapped(value)
    if type(value) is Pending:
        return None
    if type(value) in MODELS:
        return list(value)
    if type(value) is Stream:
        found = list(islice(value.items, COSTLY_ITEMS + 1))
        if len(found) > COSTLY_ITEMS:
            raise Unsafe("many items, which foresight leaves to the real run")
        return found
    if not is_concrete(value):
        raise Unsafe("iteration over what foresight can't see")
    found = list(islice(over(value), COSTLY_ITEMS * 10 + 1))
    if len(found) > COSTLY_ITEMS * 10:
        raise Unsafe("many items, which foresight leaves to the real run")
    return found


def loaded(values: dict[str, Any], name: str) -> Any:
    """The value of a variable.

    Raises:
        Stop: It isn't bound.
    """
    value = values.get(name, UNBOUND)
    if type(value) is Pending and value.known:
        value = values[name] = settled(value)
    if value is UNBOUND:
        raise Stop(f"{name} isn't bound")
    return value
