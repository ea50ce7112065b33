"""Instructions that evaluate: names, operators, displays, attributes, subscripts, unpacking."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from . import operations
from .iterators import over
from .plain_types import COSTLY_ITEMS, is_plain, require_plain
from .values import (
    MODELS,
    UNBOUND,
    UNKNOWN,
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
from .walking import Frame, Stop, Wait, Walk, operation

__all__ = ["applied", "elements_of", "whole"]


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
    _refuse_streams(elements)
    return ListModel(elements)


def _refuse_streams(elements: Iterable[Any]) -> None:
    if any(type(each) is Stream for each in elements):
        raise Unsafe("an iterator in a container, which may be used in several places")


def as_tuple(elements: Iterable[Any]) -> Any:
    """A tuple of elements: a real one if all are known."""
    made = tuple(settled(each) for each in elements)
    if all(is_concrete(each) for each in made):
        return made
    _refuse_streams(made)
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


# -- names and the stack


@operation
def do_constant(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack.append(argument)


@operation
def do_unknown(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack.append(UNKNOWN)


def _loaded(values: dict[str, Any], name: str) -> Any:
    value = values.get(name, UNBOUND)
    if type(value) is Pending and value.known:
        value = values[name] = settled(value)
    if value is UNBOUND:
        raise Stop(f"{name} isn't bound")
    return value


@operation
def do_load_local(walk: Walk, frame: Frame, name: Any) -> None:
    frame.stack.append(_loaded(frame.variables.values, name))


@operation
def do_load_free(walk: Walk, frame: Frame, argument: Any) -> None:
    levels, name = argument
    variables = frame.variables
    for _ in range(levels):
        if variables.outer is None:
            break  # the activation around isn't walked; the real run has given what it has of it
        variables = variables.outer
    frame.stack.append(_loaded(variables.values, name))


@operation
def do_load_global(walk: Walk, frame: Frame, name: Any) -> None:
    cell = walk.ahead.cells.get(name)
    if cell is not None:
        frame.stack.append(cell.cell_contents)
        return
    names = walk.ahead.globals
    frame.stack.append(names[name] if name in names else getattr(builtins, name))


@operation
def do_store_local(walk: Walk, frame: Frame, name: Any) -> None:
    value = frame.stack[-1]
    if type(value) is Stream:
        raise Unsafe("an iterator in a variable, which may be used in several places")
    frame.variables.values[name] = value
    frame.stack.pop()


@operation
def do_store_free(walk: Walk, frame: Frame, argument: Any) -> None:
    levels, name = argument
    variables = frame.variables
    for _ in range(levels):
        if variables.outer is None:
            raise Stop(f"an assignment to {name}, which others see")
        variables = variables.outer
    variables.values[name] = frame.stack.pop()


@operation
def do_delete_local(walk: Walk, frame: Frame, name: Any) -> None:
    frame.variables.values.pop(name, None)


@operation
def do_pop(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack.pop()


@operation
def do_copy(walk: Walk, frame: Frame, depth: Any) -> None:
    frame.stack.append(frame.stack[-depth])


# -- operators


@operation
def do_unary(walk: Walk, frame: Frame, name: Any) -> None:
    value = settled(frame.stack[-1])
    if name == "Not" and type(value) in MODELS:
        frame.stack[-1] = len(value) == 0
    else:
        frame.stack[-1] = applied(walk, lambda real: operations.unary(name, real), value)


@operation
def do_binary(walk: Walk, frame: Frame, name: Any) -> None:
    left, right = settled(frame.stack[-2]), settled(frame.stack[-1])
    if name == "Add" and (type(left) in MODELS or type(right) in MODELS):
        made = _joined(left, right)
        if made is not None:
            frame.stack[-2:] = [made]
            return
    frame.stack[-2:] = [applied(walk, lambda one, other: operations.binary(name, one, other), left, right)]


def _joined(left: Any, right: Any) -> Any:
    """The sum of two lists or two tuples of which at least one is a model; None for anything else."""
    if type(left) is ListModel and type(right) in (ListModel, list):
        return left.extended(right)
    if type(left) is list and type(right) is ListModel:
        return ListModel(list(right), left, len(left))
    if type(left) in (tuple, TupleModel) and type(right) in (tuple, TupleModel):
        return TupleModel((*left, *right))
    return None


@operation
def do_augmented(walk: Walk, frame: Frame, name: Any) -> None:
    left, right = settled(frame.stack[-2]), frame.stack[-1]
    if type(left) is ListModel:
        raise Unsafe("augmented assignment changes a list")
    frame.stack[-2:] = [applied(walk, lambda one, other: operations.augmented(name, one, other), left, right)]


@operation
def do_compare(walk: Walk, frame: Frame, name: Any) -> None:
    left, right = settled(frame.stack[-2]), settled(frame.stack[-1])
    if name in ("Is", "IsNot") and (type(left) in MODELS or type(right) in MODELS):
        if left is None or right is None:
            frame.stack[-2:] = [name == "IsNot"]
            return
        raise Unsafe("the identity of objects")
    frame.stack[-2:] = [applied(walk, lambda one, other: operations.compare(name, one, other), left, right)]


# -- attributes, subscripts


@operation
def do_attribute(walk: Walk, frame: Frame, name: Any) -> None:
    value = settled(frame.stack[-1])
    if type(value) in MODELS:
        raise Unsafe(f"attribute {name!r} of a list")
    frame.stack[-1] = applied(walk, lambda real: operations.attribute(real, name), value)


@operation
def do_subscript(walk: Walk, frame: Frame, argument: Any) -> None:
    container, key = settled(frame.stack[-2]), settled(frame.stack[-1])
    if type(container) in MODELS:
        if type(key) in (int, bool):
            frame.stack[-2:] = [container[key + len(container) if key < 0 else key]]
            return
        if type(key) is slice and is_plain(key):
            part = list(container)[key]
            frame.stack[-2:] = [whole(part) if type(container) is ListModel else as_tuple(part)]
            return
    frame.stack[-2:] = [applied(walk, operations.subscript, container, key)]


@operation
def do_make_slice(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack[-3:] = [applied(walk, slice, *frame.stack[-3:])]


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
    made, value = settled(_loaded(values, name)), frame.stack[-1]
    _refuse_streams((value,))
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
