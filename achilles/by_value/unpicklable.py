"""Where inside an object the part lies that cannot be pickled; asked only after a failure."""

from __future__ import annotations

import types
from collections.abc import Iterator
from itertools import islice
from typing import Any

from achilles.by_value.functions import global_names
from achilles.by_value.identity import HEAP_TYPE, travels_by_reference
from achilles.by_value.pickler import Pickler

__all__ = ["find_unpicklable"]

_MAX_DEPTH = 20
_MAX_CHILDREN = 10_000  # looked at per level
_MAX_ATTEMPTS = 20_000


class _Nowhere:
    @staticmethod
    def write(chunk: object) -> None:
        pass


def find_unpicklable(obj: Any, error: Exception) -> tuple[str, Any, Exception]:
    """Descend to the innermost part that fails by itself.

    Args:
        obj: Object that could not be pickled.
        error: What pickling it raised.

    Returns:
        The path (such as ``['model'].lock``, empty for ``obj`` itself), the part there, and what
        pickling that part raised.
    """
    path = ""
    seen = {id(obj)}
    attempts = 0
    for _ in range(_MAX_DEPTH):
        for step, child in islice(_children(obj), _MAX_CHILDREN):
            if id(child) in seen or type(child) in _HARMLESS:
                continue
            attempts += 1
            if attempts > _MAX_ATTEMPTS:
                return path, obj, error
            seen.add(id(child))
            failure = _failure(child)
            if failure is not None:
                path, obj, error = path + step, child, failure
                break
        else:
            break
    return path, obj, error


_HARMLESS = frozenset({int, float, str, bytes, bool, complex, type(None)})


def _failure(obj: Any) -> Exception | None:
    try:
        Pickler(_Nowhere, lambda buffer: False, with_dill=True).dump(obj)
    except Exception as error:  # noqa: BLE001 - __reduce__ of anything may raise anything
        return error
    return None


def _children(obj: Any) -> Iterator[tuple[str, Any]]:
    """The parts of an object that travel with it, each with the step that leads there."""
    try:
        yield from _parts(obj)
    except Exception:  # noqa: BLE001 - an object whose own iteration or attributes fail has no parts to show
        return


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"[{key!r:.60}]", value
            yield f" key {key!r:.60}", key
    elif isinstance(obj, (list, tuple, set, frozenset)):
        for position, value in enumerate(obj):
            yield f"[{position}]", value
    elif isinstance(obj, types.FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, types.MethodType):
        yield ".__self__", obj.__self__
        yield ".__func__", obj.__func__
    elif isinstance(obj, (classmethod, staticmethod)):
        yield ".__func__", obj.__func__
    elif isinstance(obj, property):
        yield ".fget", obj.fget
        yield ".fset", obj.fset
    elif hasattr(obj, "func") and hasattr(obj, "keywords"):  # functools.partial
        yield ".func", obj.func
        yield ".args", obj.args
        yield ".keywords", obj.keywords
    elif isinstance(obj, types.ModuleType):
        return
    elif isinstance(obj, type):
        if travels_by_reference(obj) or not obj.__flags__ & HEAP_TYPE:
            return
    if isinstance(obj, BaseException):
        yield ".args", obj.args
    for name, value in list(getattr(obj, "__dict__", {}).items()):
        if not (isinstance(obj, type) and name in ("__dict__", "__weakref__")):
            yield f".{name}", value
    if not isinstance(obj, type):
        for cls in type(obj).__mro__:
            slots = vars(cls).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(obj, name):
                    yield f".{name}", getattr(obj, name)
        yield " class", type(obj)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    if travels_by_reference(function):
        return
    name = function.__name__
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f" variable {variable!r} of {name}", cell.cell_contents
        except ValueError:
            continue
    for variable in sorted(global_names(function.__code__)):
        if variable in function.__globals__:
            yield f" global {variable!r} of {name}", function.__globals__[variable]
    yield f" defaults of {name}", function.__defaults__
    yield f" keyword defaults of {name}", function.__kwdefaults__
