"""Operators and attribute reads on real objects, for those types where they provably have no effect.

Which operation is safe is decided by the exact types that the operands have when it comes to it. Nothing here
changes an object. A safe operation may raise what it would raise in the real run.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from typing import Any, Final

from .plain_types import (
    COSTLY_BYTES,
    COSTLY_ITEMS,
    NUMBERS,
    SCALARS,
    is_array,
    is_array_scalar,
    is_class,
    is_dtype,
    numpy_module,
    require_plain,
    require_plain_keys,
)
from .values import Unsafe

__all__ = [
    "AUGMENTABLE",
    "attribute",
    "augmented",
    "binary",
    "compare",
    "formatted",
    "subscript",
    "truth",
    "unary",
]

BINARY: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "Pow": operator.pow,
    "LShift": operator.lshift,
    "RShift": operator.rshift,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
    "BitAnd": operator.and_,
    "MatMult": operator.matmul,
}
UNARY: Final[dict[str, Callable[[Any], Any]]] = {
    "UAdd": operator.pos,
    "USub": operator.neg,
    "Invert": operator.invert,
}
COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
}
# What ``x += y`` leaves alone, binding x anew.
AUGMENTABLE: Final = NUMBERS | {str, bytes, tuple, frozenset, range}

_MAX_BITS = 1 << 16
# Attributes of NumPy's arrays and scalars that are read without effect.
_ARRAY_ATTRIBUTES = frozenset("T dtype imag itemsize nbytes ndim real shape size strides".split())
# Descriptors written in C that only read what an object holds.
_READERS = (types.MemberDescriptorType, type(__import__("collections").namedtuple("_P", "x").x))
_PLAIN_READING: Any = object.__getattribute__
_TYPES_OF_METHODS = (str, bytes, tuple, list, dict, set, frozenset, int, float, complex, bool, range)


def truth(value: Any) -> bool:
    """What ``bool(value)`` is.

    Raises:
        Unsafe: Its type may have its own idea of truth.
    """
    kind = type(value)
    if kind in SCALARS or kind in (list, tuple, dict, set, frozenset, range):
        return bool(value)
    if is_array_scalar(value) or (is_array(value) and value.size == 1):
        return bool(value)
    if kind in (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType):
        return True
    raise Unsafe(f"the truth of an object of type {kind.__qualname__}")


def unary(name: str, value: Any) -> Any:
    """An operator of one operand, by the name of its class in `ast`."""
    if name == "Not":
        return not truth(value)
    kind = type(value)
    if kind is bool and name == "Invert":
        raise Unsafe("~ of a truth value, which warns")
    if kind in NUMBERS or is_array_scalar(value):
        return _quietly(UNARY[name], value)
    require_plain(value)
    return _quietly(UNARY[name], value)


def binary(name: str, left: Any, right: Any) -> Any:
    """An operator of two operands, by the name of its class in `ast`."""
    kind, other = type(left), type(right)
    function = BINARY[name]
    if kind in SCALARS and other in SCALARS:
        _limit(name, left, right)
        return function(left, right)
    if name == "Add" and kind is other and kind in (list, tuple):
        return left + right  # what they hold isn't looked at
    if name == "Mult" and (kind in (list, tuple) or other in (list, tuple)) and int in (kind, other):
        _limit(name, left, right)
        return function(left, right)
    require_plain(left, right)
    if is_array(left) or is_array(right):
        _limit_broadcast(left, right, name)
    return _quietly(function, left, right)


def augmented(name: str, left: Any, right: Any) -> Any:
    """``left += right`` and its kin, where that binds a name anew and changes no object.

    Raises:
        Unsafe: It may change the object on the left.
    """
    if type(left) not in AUGMENTABLE and not is_array_scalar(left):
        raise Unsafe(f"augmented assignment to an object of type {type(left).__qualname__} may change it")
    return binary(name, left, right)


def compare(name: str, left: Any, right: Any) -> Any:
    """A comparison, by the name of its class in `ast`."""
    if name in ("Is", "IsNot"):
        return _identical(left, right) is (name == "Is")
    if name in ("In", "NotIn"):
        return _contains(left, right) is (name == "In")
    if type(left) in SCALARS and type(right) in SCALARS:
        return COMPARISONS[name](left, right)
    require_plain(left, right)
    return _quietly(COMPARISONS[name], left, right)


def _identical(left: Any, right: Any) -> bool:
    singular = (type(None), bool, type(...), type(NotImplemented), type, types.ModuleType, types.FunctionType)
    if type(left) not in singular and type(right) not in singular:
        # Whether two equal numbers are one object may differ between foresight and the real run.
        raise Unsafe("the identity of objects")
    return left is right


def _contains(item: Any, container: Any) -> bool:
    if type(item) in SCALARS and type(container) in (str, bytes, range):
        return item in container
    if type(container) in (dict, set, frozenset):
        require_plain(item)
        require_plain_keys(container)
        return item in container
    require_plain(item, container)
    return bool(item in container)


def subscript(container: Any, key: Any) -> Any:
    """``container[key]``."""
    kind = type(container)
    if kind in (list, tuple, str, bytes, range):
        if type(key) in (int, bool):
            return container[key]
        if type(key) is slice and all(type(each) in SCALARS for each in (key.start, key.stop, key.step)):
            return container[key]
    elif kind is dict:
        require_plain(key)
        require_plain_keys(container)
        return container[key]
    require_plain(key)
    if is_array(container):
        if type(key) in (int, slice, tuple) or (is_array(key) and key.nbytes <= COSTLY_BYTES):
            return container[key]
        require_plain(container)
    require_plain(container)
    return container[key]


def attribute(value: Any, name: str) -> Any:
    """``value.name``, if that only reads what is there.

    Raises:
        Unsafe: Reading it may run code.
        AttributeError: There is none.
    """
    kind = type(value)
    if kind is types.ModuleType:
        if name in vars(value):
            return vars(value)[name]
        raise Unsafe(f"attribute {name!r} of a module, which may be made when it is asked for")
    if is_array(value) or is_array_scalar(value):
        if name in _ARRAY_ATTRIBUTES or callable(getattr(kind, name, None)):
            return getattr(value, name)
        raise Unsafe(f"attribute {name!r} of an array")
    if kind in _TYPES_OF_METHODS or kind is slice or is_dtype(value):
        return getattr(value, name)
    if is_class(value):
        return _of_class(value, name)
    numpy = numpy_module()
    if numpy is not None and kind is numpy.ufunc:
        return getattr(value, name)
    return _of_instance(value, kind, name)


def _of_class(value: type, name: str) -> Any:
    for base in value.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            if type(found) is types.FunctionType:
                return found
            if type(found) is staticmethod:
                return found.__func__
            if type(found) is classmethod and type(found.__func__) is types.FunctionType:
                return types.MethodType(found.__func__, value)
            if base.__module__ == "builtins" or not hasattr(type(found), "__get__"):
                return getattr(value, name)
            break
    raise Unsafe(f"attribute {name!r} of class {value.__qualname__}")


def _of_instance(value: Any, kind: type, name: str) -> Any:
    if kind.__getattribute__ is not _PLAIN_READING:
        raise Unsafe(f"attribute {name!r} of an object of type {kind.__qualname__}, which has its own way")
    for base in kind.__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            if type(found) in _READERS:
                return found.__get__(value, kind)
            if hasattr(type(found), "__set__") or hasattr(type(found), "__delete__"):
                break  # a property, or another descriptor that goes before the object's own attributes
            own = getattr(value, "__dict__", None)
            if type(own) is dict and name in own:
                return own[name]
            if type(found) is types.FunctionType:
                return types.MethodType(found, value)
            if type(found) is staticmethod:
                return found.__func__
            if type(found) is classmethod and type(found.__func__) is types.FunctionType:
                return types.MethodType(found.__func__, kind)
            if not hasattr(type(found), "__get__"):
                return found
            break
    else:
        own = getattr(value, "__dict__", None)
        if type(own) is dict and name in own:
            return own[name]
    raise Unsafe(f"attribute {name!r} of an object of type {kind.__qualname__}")


def formatted(value: Any, conversion: int, spec: str) -> str:
    """A replacement field of an f-string."""
    require_plain(value)
    if len(spec) > 12:
        raise Unsafe("a long format specification")
    if conversion == ord("r"):
        value = repr(value)
    elif conversion == ord("s"):
        value = str(value)
    elif conversion == ord("a"):
        value = ascii(value)
    return format(value, spec)


def _limit(name: str, left: Any, right: Any) -> None:
    """Refuse what may take long or much memory."""
    if name == "Mult":
        for sequence, count in ((left, right), (right, left)):
            if type(count) in (int, bool) and type(sequence) in (str, bytes, list, tuple):
                if len(sequence) * count > COSTLY_ITEMS:
                    raise Unsafe("a long repetition")
    if type(left) not in (int, bool) or type(right) not in (int, bool):
        if name == "Mod" and type(left) in (str, bytes) and len(left) > COSTLY_ITEMS:
            raise Unsafe("formatting a long text")
        return
    if name == "Pow" and left.bit_length() * abs(right) > _MAX_BITS:
        raise Unsafe("a power of many digits")
    if name == "LShift" and left.bit_length() + right > _MAX_BITS:
        raise Unsafe("a number of many digits")
    if name in ("Mult", "FloorDiv", "Mod") and left.bit_length() + right.bit_length() > _MAX_BITS:
        raise Unsafe("a number of many digits")


def _limit_broadcast(left: Any, right: Any, name: str) -> None:
    numpy = numpy_module()
    if name == "MatMult":
        if left.size * right.size > COSTLY_BYTES:
            raise Unsafe("a product of large matrices")
        return
    if is_array(left) and is_array(right):
        shape = numpy.broadcast_shapes(left.shape, right.shape)
        if numpy.prod(shape, dtype=float) * 16 > COSTLY_BYTES:
            raise Unsafe("an operation that makes a large array")


def _quietly(function: Callable[..., Any], *operands: Any) -> Any:
    """Evaluate; NumPy's warnings about it are the real run's to give."""
    numpy = numpy_module()
    if numpy is None:
        return function(*operands)
    with numpy.errstate(all="ignore"):
        return function(*operands)
