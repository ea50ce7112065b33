"""Of which objects foresight knows that operations on them run no user code and change nothing."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from .values import Unsafe

__all__ = [
    "COSTLY_BYTES",
    "COSTLY_ITEMS",
    "IMMUTABLE",
    "SCALARS",
    "is_array",
    "is_array_scalar",
    "is_class",
    "is_plain",
    "require_plain",
    "require_plain_keys",
]

NUMBERS: Final = frozenset({int, float, complex, bool})
SCALARS: Final = NUMBERS | {str, bytes, type(None), type(...), type(NotImplemented)}
# Exact types whose objects never change, though what they hold may.
IMMUTABLE: Final = SCALARS | {
    tuple,
    frozenset,
    range,
    slice,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    ModuleType,
}
CONTAINERS: Final = frozenset({tuple, list, dict, set, frozenset})

# Foresight runs while the real run waits. An operation on more than this would keep the real run waiting
# after its call is done, and be done twice.
COSTLY_ITEMS: Final = 100_000
COSTLY_BYTES: Final = 16 * 1024 * 1024


def numpy_module() -> Any:
    """NumPy, if the program has imported it."""
    return sys.modules.get("numpy")


def is_array(value: Any) -> bool:
    """Whether a value is a NumPy array, of exactly that type, that holds no Python objects."""
    numpy = numpy_module()
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject


def is_array_scalar(value: Any) -> bool:
    """Whether a value is one of NumPy's own scalars."""
    numpy = numpy_module()
    return numpy is not None and issubclass(type(value), numpy.generic) and type(value).__module__ == "numpy"


def is_dtype(value: Any) -> bool:
    numpy = numpy_module()
    return numpy is not None and issubclass(type(value), numpy.dtype)


def is_class(value: Any) -> bool:
    """Whether a value is a class without a metaclass of its own."""
    return type(value) is type


def is_plain(value: Any) -> bool:
    """Whether a value, and everything in it, is of types whose every operation is known.

    Raises:
        Unsafe: There is too much in it to look.
    """
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind in CONTAINERS:
        return _holds_only_plain(value)
    if kind is range or (kind is slice):
        return all(type(each) in SCALARS for each in (value.start, value.stop, value.step))
    if is_array(value):
        return value.nbytes <= COSTLY_BYTES or _costly("an operation on a large array")
    return is_array_scalar(value) or is_dtype(value)


def _holds_only_plain(value: Any) -> bool:
    stack, looked_at, seen = [value], 0, {id(value)}
    while stack:
        each = stack.pop()
        kind = type(each)
        if kind in SCALARS:
            continue
        if kind in CONTAINERS:
            looked_at += len(each)
            if looked_at > COSTLY_ITEMS:
                _costly("an operation on many elements")
            inner = [*each, *each.values()] if kind is dict else each
            for item in inner:
                if type(item) in SCALARS:
                    continue
                if id(item) not in seen:
                    seen.add(id(item))
                    stack.append(item)
        elif not is_plain(each):
            return False
    return True


def _costly(what: str) -> bool:
    raise Unsafe(f"{what}, which foresight leaves to the real run")


def require_plain(*values: Any) -> None:
    """Refuse values on which operations may run user code.

    Raises:
        Unsafe: One isn't plain; names its type.
    """
    for value in values:
        if type(value) not in SCALARS and not is_plain(value):
            raise Unsafe(f"an operation on an object of type {type(value).__qualname__}")


def require_plain_keys(container: Any) -> None:
    """Refuse a dictionary or set to be searched whose keys may be asked whether they are equal.

    Raises:
        Unsafe: A key isn't plain, or there are too many to look.
    """
    if len(container) > COSTLY_ITEMS:
        _costly("a search among many keys")
    if not SCALARS.issuperset(set(map(type, container))):
        require_plain(*container)
