"""Instructions that decide where the walk goes on: branches, loops, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import operations
from .branches import may_be_put_off
from .combining import elements_of
from .iterators import over
from .program import Branch, Loop
from .values import MODELS, Pending, Stream, Unsafe, is_concrete, settled, unwrapped
from .waiting import Deferred
from .walking import Frame, Stop, Wait, Walk, operation

__all__: list[str] = []

_END = object()


def _truth(value: Any) -> bool:
    if type(value) in MODELS:
        return len(value) > 0
    if not is_concrete(value):
        raise Unsafe("the truth of what foresight can't see")
    return operations.truth(value)


@operation
def do_jump(walk: Walk, frame: Frame, place: Any) -> None:
    frame.place = place


@operation
def do_branch(walk: Walk, frame: Frame, branch: Branch) -> None:
    value = unwrapped(frame.stack[-1])
    if type(value) is Pending:
        stores = may_be_put_off(walk, frame, branch)
        if stores is None:
            raise Wait(value)
        walk.put_off(branch, stores, value)
        return
    if _truth(value) is branch.when:
        frame.place = branch.target
        if branch.keeps:
            return
    frame.stack.pop()


@operation
def do_leave_unless(walk: Walk, frame: Frame, where: Branch | Loop) -> None:
    """A condition that nothing is put off for: where it leads is where the program goes on."""
    value = unwrapped(frame.stack[-1])
    if type(value) is Pending:
        raise Wait(value)
    if isinstance(where, Loop):
        if not _truth(value):
            frame.place = where.exit
    elif _truth(value) is where.when:
        frame.place = where.target
    frame.stack.pop()


@operation
def do_expect(walk: Walk, frame: Frame, argument: Any) -> None:
    """An assertion, which is taken to hold where that isn't known yet."""
    value = settled(frame.stack.pop())
    if type(value) is Pending:
        Deferred(walk.ahead, _expected, (value,))
    elif not _truth(value):
        raise Stop("AssertionError is raised")


def _expected(value: Any) -> None:
    if not operations.truth(value):
        raise AssertionError


@operation
def do_begin_loop(walk: Walk, frame: Frame, loop: Loop) -> None:
    frame.counters[loop.number] = -1


@operation
def do_next_turn(walk: Walk, frame: Frame, loop: Loop) -> None:
    frame.counters[loop.number] += 1


@operation
def do_iterate(walk: Walk, frame: Frame, loop: Loop) -> None:
    value = unwrapped(frame.stack[-1])
    if type(value) is Pending:
        raise Wait(value)
    frame.variables.values[loop.iterator] = _iterator(value)
    frame.counters[loop.number] = -1
    frame.stack.pop()


def _iterator(value: Any) -> Iterator[Any]:
    if type(value) in MODELS:
        return iter(elements_of(value) or ())
    if type(value) is Stream:
        return value.items
    if not is_concrete(value):
        raise Unsafe("iteration over what foresight can't see")
    return over(value)


@operation
def do_next_item(walk: Walk, frame: Frame, loop: Loop) -> None:
    values = frame.variables.values
    if loop.iterator not in values:
        raise Stop("an iterator that only the real run may use")
    item = next(values[loop.iterator], _END)
    if item is _END:
        del values[loop.iterator]
        frame.place = loop.exit
        return
    frame.counters[loop.number] += 1
    frame.stack.append(item)


@operation
def do_stop(walk: Walk, frame: Frame, reason: Any) -> None:
    raise Stop(reason)


@operation
def do_raise(walk: Walk, frame: Frame, argument: Any) -> None:
    raise Stop("the real run leaves the function or the block here")


@operation
def do_return(walk: Walk, frame: Frame, argument: Any) -> None:
    value = frame.stack.pop()
    if frame.back is None:
        raise Stop("the function returns")
    walk.frame = frame.back
    walk.frame.stack.append(value)
