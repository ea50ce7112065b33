"""Instructions that evaluate: names, operators, attributes, subscripts."""

from __future__ import annotations

import builtins
from typing import Any

from . import operations
from .combining import applied, as_tuple, loaded, whole
from .plain_types import is_plain
from .values import (
    MODELS,
    UNKNOWN,
    ListModel,
    Stream,
    TupleModel,
    Unsafe,
    settled,
)
from .walking import Frame, Stop, Walk, operation

__all__: list[str] = []

# -- names and the stack


@operation
def do_constant(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack.append(argument)


@operation
def do_unknown(walk: Walk, frame: Frame, argument: Any) -> None:
    frame.stack.append(UNKNOWN)


@operation
def do_load_local(walk: Walk, frame: Frame, name: Any) -> None:
    frame.stack.append(loaded(frame.variables.values, name))


@operation
def do_load_free(walk: Walk, frame: Frame, argument: Any) -> None:
    levels, name = argument
    variables = frame.variables
    for _ in range(levels):
        if variables.outer is None:
            break  # the activation around isn't walked; the real run has given what it has of it
        variables = variables.outer
    frame.stack.append(loaded(variables.values, name))


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
