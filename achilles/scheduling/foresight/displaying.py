"""Instructions that make containers and texts of values, and take them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import operations
from .combining import applied, as_tuple, elements_of, loaded, refuse_streams, whole
from .plain_types import require_plain
from .values import (
    UNKNOWN,
    ListModel,
    Pending,
    Unsafe,
    settled,
)
from .waiting import Deferred
from .walking import Frame, Wait, Walk, operation

__all__: list[str] = []

# -- displays


@operation
def do_make_list(walk: Walk, frame: Frame, count: Any) -> None:
    stack = frame.stack
    if not count:
        stack.append([])
    else:
        stack[-count:] = [whole(stack[-count:])]


@operation
def do_to_tuple(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack[-1] = as_tuple(frame.stack[-1])


@operation
def do_list_add(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack[-2:] = [whole([*frame.stack[-2], frame.stack[-1]])]


@operation
def do_list_extend(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack[-2:] = [whole([*frame.stack[-2], *_elements_now(walk, frame.stack[-1])])]


def _elements_now(walk: Walk, value: Any) -> list[Any]:
    value = settled(value)
    if type(value) is Pending:
        raise Wait(value)
    found = elements_of(value)
    assert found is not None
    return found


@operation
def do_make_pair(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack[-2:] = [as_tuple(frame.stack[-2:])]


@operation
def do_add_pair(walk: Walk, frame: Frame, argument: Any) -> None:
    pair = as_tuple(frame.stack[-2:])
    frame.stack[-3:] = [whole([*frame.stack[-3], pair])]


@operation
def do_add_mapping(walk: Walk, frame: Frame, argument: Any) -> None:
    mapping = settled(frame.stack[-1])
    if type(mapping) is Pending:
        raise Wait(mapping)
    if type(mapping) is not dict:
        raise Unsafe("** of what isn't a dictionary")
    frame.stack[-2:] = [whole([*frame.stack[-2], *mapping.items()])]


_FINISHED: dict[str, Callable[[list[Any]], Any]] = {"list": list, "set": set, "dict": dict}


@operation
def do_finish(walk: Walk, frame: Frame, kind: Any) -> None:
    """A display or comprehension is complete: what its list of elements, or of pairs, makes."""
    made = settled(frame.stack[-1])
    if kind == "list":
        frame.stack[-1] = whole(list(made)) if type(made) is ListModel else made
    else:
        frame.stack[-1] = applied(walk, lambda elements: _hashed(kind, elements), made)


def _hashed(kind: str, elements: list[Any]) -> Any:
    for each in elements:
        require_plain(each[0] if kind == "dict" else each)
    return _FINISHED[kind](elements)


@operation
def do_append(walk: Walk, frame: Frame, name: Any) -> None:
    """Append to a list that only the function can see; its variable is bound to a longer list."""
    values = frame.variables.values
    made, value = settled(loaded(values, name)), frame.stack[-1]
    refuse_streams((value,))
    if made is not UNKNOWN:
        if type(made) is list or type(made) is ListModel:
            made = _appended(made, value)
        elif type(made) is Pending:
            made = Deferred(
                walk.ahead, lambda elements: _appended(elements, value), (made,), shallow=True
            ).result
        else:
            raise Unsafe("append to what isn't a list")
        values[name] = made
    frame.stack.pop()


def _appended(elements: Any, value: Any) -> ListModel:
    if type(elements) is ListModel:
        return elements.extended([value])
    if type(elements) is not list:
        raise Unsafe("append to what isn't a list")
    return ListModel([value], elements, len(elements))


@operation
def do_format(walk: Walk, frame: Frame, argument: Any) -> None:
    conversion, has_spec = argument
    spec = frame.stack.pop() if has_spec else ""
    frame.stack[-1] = applied(
        walk, lambda value, form: operations.formatted(value, conversion, form), frame.stack[-1], spec
    )


@operation
def do_join(walk: Walk, frame: Frame, count: Any) -> None:
    parts = frame.stack[-count:] if count else []
    del frame.stack[len(frame.stack) - count :]
    frame.stack.append(applied(walk, lambda *texts: "".join(texts), *parts))


# -- unpacking


@operation
def do_unpack(walk: Walk, frame: Frame, argument: Any) -> None:
    count, star, after = argument
    value = settled(frame.stack[-1])
    found = elements_of(value)
    if found is None:
        items = applied(walk, lambda real: _parts(elements_of(real) or [], count, star, after), value)
        parts = [applied(walk, lambda real, n=n: real[n], items) for n in range(count)]
    else:
        parts = _parts(found, count, star, after)
    frame.stack[-1:] = reversed(parts)


def _parts(elements: list[Any], count: int, star: int | None, after: int) -> list[Any]:
    if star is None:
        if len(elements) != count:
            raise ValueError("too many or too few values to unpack")
        return elements
    if len(elements) < count - 1:
        raise ValueError("not enough values to unpack")
    end = len(elements) - after
    return [*elements[:star], whole(elements[star:end]), *elements[end:]]
