"""Instructions that call: functional functions, listed pure ones, and functions within the scheduled one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import count
from typing import Any

from ..functional import is_functional
from .combining import applied, as_tuple, elements_of, whole
from .iterators import over
from .pure_calls import call_pure, is_pure
from .statements import lower
from .values import (
    MODELS,
    Closure,
    Pending,
    Stream,
    Unsafe,
    Variables,
    concrete,
    is_concrete,
    settled,
)
from .walking import Frame, Full, Stop, Wait, Walk, operation

__all__: list[str] = []

_MAX_DEPTH = 100
_unnamed = count()


@operation
def do_make_function(walk: Walk, frame: Frame, argument: Any) -> None:
    node, defaults = argument
    program = lower(walk.ahead.definitions, node)
    values = frame.stack[len(frame.stack) - defaults :]
    del frame.stack[len(frame.stack) - defaults :]
    frame.stack.append(Closure(program, frame.variables, values))


@operation
def do_call(walk: Walk, frame: Frame, argument: Any) -> None:
    site, number, names = argument
    stack = frame.stack
    first = len(stack) - number - len(names)
    function = settled(stack[first - 1])
    args = tuple(stack[first : first + number])
    kwargs = dict(zip(names, stack[first + number :], strict=True))
    _call(walk, frame, site, function, args, kwargs, first - 1)


@operation
def do_call_spread(walk: Walk, frame: Frame, site: Any) -> None:
    function, args, pairs = frame.stack[-3:]
    kwargs: dict[str, Any] = {}
    for name, value in pairs:
        if type(name) is not str or name in kwargs:
            raise Stop("TypeError is raised")
        kwargs[name] = value
    _call(walk, frame, site, settled(function), tuple(args), kwargs, len(frame.stack) - 3)


def _call(
    walk: Walk,
    frame: Frame,
    site: int | None,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    depth: int,
) -> None:
    """Call what lies on the stack at ``depth``; what lies from there on is replaced by the result."""
    if type(function) is Pending:
        raise Wait(function)
    if type(function) is Closure:
        _enter(walk, frame, site, function, args, kwargs, depth)
        return
    if not is_concrete(function):
        raise Unsafe("a call of what foresight can't see")
    if is_functional(function):
        if site is None:
            raise Stop("a functional call that the real run makes by itself")
        result = _functional(walk, frame, site, function, args, kwargs)
    elif is_pure(function, walk.ahead.code.pure):
        result = _pure(walk, function, args, kwargs)
    else:
        program = walk.ahead.program_of(function)
        if program is None:
            raise Stop(f"a call of {getattr(function, '__qualname__', function)!s}, which isn't functional")
        closure = Closure(program, _around(walk, frame, program), [])
        closure.defaults = _defaults(function)
        _enter(walk, frame, site, closure, args, kwargs, depth)
        return
    del frame.stack[depth:]
    frame.stack.append(result)


# -- functional calls


def _key(frame: Frame, site: int) -> tuple[Any, ...]:
    counters = frame.counters
    loops = frame.program.resumptions[site].loops
    return (site, *(counters[loop] for loop in loops), *frame.caller)


def _functional(
    walk: Walk, frame: Frame, site: int, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if walk.ahead.is_full(walk):
        raise Full
    args = tuple(_seen(each) for each in args)
    return walk.ahead.come_to(
        _key(frame, site), function, args, {name: _seen(each) for name, each in kwargs.items()}
    )


def _seen(value: Any) -> Any:
    """An argument; an iterator of foresight's own stays out of it."""
    value = settled(value)
    if type(value) is Stream:
        raise Unsafe("an iterator as an argument")
    return value


# -- pure calls


def _pure(walk: Walk, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    special = _ON_MODELS.get(function) if type(function) in (type, type(len)) else None
    if special is not None and not kwargs and len(args) >= 1:
        made = special(tuple(settled(each) for each in args))
        if made is not NotImplemented:
            return made
    if function in _STREAMING:
        return _stream(function, args, kwargs)
    names = tuple(kwargs)
    args = tuple(_materialized(each) for each in args)
    pure = walk.ahead.code.pure

    def evaluate(*values: Any) -> Any:
        split = len(values) - len(names)
        return call_pure(function, values[:split], dict(zip(names, values[split:], strict=True)), pure)

    return applied(walk, evaluate, *args, *kwargs.values())


def _materialized(value: Any) -> Any:
    value = settled(value)
    return whole(elements_of(value) or []) if type(value) is Stream else value


_STREAMING = frozenset({enumerate, zip, reversed})


def _stream(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stream:
    """enumerate(), zip() or reversed() of values whose elements may be pending."""
    for each in (*args, *kwargs.values()):
        if type(settled(each)) is Pending:
            raise Wait(settled(each))
    if function is reversed:
        (value,) = args
        found = settled(value)
        if type(found) not in (list, tuple, range, str) and type(found) not in MODELS:
            raise Unsafe("reversed() of what isn't a sequence")
        return Stream(iter(found[::-1]) if is_concrete(found) else iter(list(found)[::-1]))
    if function is enumerate:
        start = concrete(args[1] if len(args) > 1 else kwargs.get("start", 0))
        if type(start) is not int:
            raise Unsafe("enumerate() from what isn't an int")
        return Stream(as_tuple(pair) for pair in enumerate(_items(args[0]), start))
    strict = concrete(kwargs.get("strict", False))
    return Stream(as_tuple(each) for each in zip(*map(_items, args), strict=bool(strict)))


def _items(value: Any) -> Iterator[Any]:
    value = settled(value)
    if type(value) is Stream:
        return value.items
    if type(value) in MODELS:
        return iter(value)
    if not is_concrete(value):
        raise Unsafe("iteration over what foresight can't see")
    return over(value)


def _len(args: tuple[Any, ...]) -> Any:
    return len(args[0]) if type(args[0]) in MODELS else NotImplemented


def _list(args: tuple[Any, ...]) -> Any:
    return whole(elements_of(args[0]) or []) if type(args[0]) in (*MODELS, Stream) else NotImplemented


def _tuple(args: tuple[Any, ...]) -> Any:
    return as_tuple(elements_of(args[0]) or []) if type(args[0]) in (*MODELS, Stream) else NotImplemented


def _bool(args: tuple[Any, ...]) -> Any:
    return len(args[0]) > 0 if type(args[0]) in MODELS else NotImplemented


_ON_MODELS: dict[Any, Any] = {len: _len, list: _list, tuple: _tuple, bool: _bool}


# -- functions within the scheduled one


def _around(walk: Walk, frame: Frame, program: Any) -> Variables | None:
    """The variables around a function's definition: of the innermost activation that it can be defined in."""
    owner = walk.ahead.code.function_of(walk.ahead.code.parents[program.node])
    at: Frame | None = frame
    while at is not None:
        if at.program.node is owner:
            return at.variables
        at = at.back
    raise Stop("a function whose surroundings foresight can't see")


def _defaults(function: Any) -> list[Any]:
    given = list(function.__defaults__ or ())
    keywords: dict[str, Any] = function.__kwdefaults__ or {}
    return [*given, *keywords.values()]


def _enter(
    walk: Walk,
    frame: Frame,
    site: int | None,
    closure: Closure,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    depth: int,
) -> None:
    program = closure.program
    if program.is_generator:
        raise Stop("a call of a generator function")
    levels, back = 0, frame.back
    while back is not None:
        levels, back = levels + 1, back.back
    if levels > _MAX_DEPTH:
        raise Stop("calls nested too deeply")
    outer = None if closure.outer is None else walk.own(closure.outer)
    values = _bound(program.node.args, closure.defaults, args, kwargs)
    # The real run names no place for a call that it doesn't ask about.
    caller = ("unnamed", next(_unnamed)) if site is None else _key(frame, site)
    inner = Frame(program, Variables(values, outer), (caller,), frame)
    del frame.stack[depth:]
    walk.frame = inner


def _bound(
    parameters: ast.arguments, defaults: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Parameters with their values.

    Raises:
        TypeError: The arguments don't fit.
    """
    positional = [each.arg for each in (*parameters.posonlyargs, *parameters.args)]
    only_positional = {each.arg for each in parameters.posonlyargs}
    only_named = [each.arg for each in parameters.kwonlyargs]
    split = len(parameters.defaults)
    known = dict(zip(positional[len(positional) - split :], defaults[:split], strict=True))
    with_defaults = [
        name for name, default in zip(only_named, parameters.kw_defaults, strict=True) if default is not None
    ]
    known.update(zip(with_defaults, defaults[split:], strict=True))
    values = dict(zip(positional, args, strict=False))
    rest = args[len(positional) :]
    if rest and parameters.vararg is None:
        raise TypeError("too many arguments")
    more: dict[str, Any] = {}
    for name, value in kwargs.items():
        takes = (name in positional and name not in only_positional) or name in only_named
        if not takes or name in values:
            if parameters.kwarg is None or takes:
                raise TypeError(f"unexpected argument {name}")
            more[name] = value
        else:
            values[name] = value
    for name in (*positional, *only_named):
        if name not in values:
            values[name] = known[name]  # a missing one raises KeyError, where the real run raises TypeError
    if parameters.vararg is not None:
        values[parameters.vararg.arg] = as_tuple(rest)
    if parameters.kwarg is not None:
        if not all(is_concrete(settled(each)) for each in more.values()):
            raise Unsafe("a dictionary of pending arguments")
        values[parameters.kwarg.arg] = {name: settled(each) for name, each in more.items()}
    if any(type(settled(each)) is Stream for each in values.values()):
        raise Unsafe("an iterator in a variable, which may be used in several places")
    return values
