"""Whether two values are so much the same that a function can't tell which one it was given."""

from __future__ import annotations

import struct
import types
from functools import partial
from typing import Any, Final

from ..calls import Handle
from .plain_types import SCALARS, is_array, is_array_scalar, is_dtype

__all__ = ["estimated_bytes", "is_lasting", "same", "stays_as_it_is"]

_BY_VALUE: Final = frozenset({int, str, bytes, bool})
_LASTING: Final = _BY_VALUE | {
    float,
    complex,
    type(None),
    type(...),
    type(NotImplemented),
    types.ModuleType,
    type,
    range,
}
_MAX_DEPTH: Final = 50


def same(one: Any, other: Any, depth: int = 0) -> bool:
    """Whether a function would do the same with either value.

    Args:
        one: What foresight has started a call with.
        other: What the real run calls with.
        depth: How deeply they are nested.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is Handle:
        return one.forced and one.content is other
    if kind is not type(other) or depth > _MAX_DEPTH:
        return False
    if kind in _BY_VALUE:
        return bool(one == other)
    if kind is float:
        return struct.pack("<d", one) == struct.pack("<d", other)
    if kind is complex:
        return same(one.real, other.real) and same(one.imag, other.imag)
    if kind is list or kind is tuple:
        return len(one) == len(other) and all(
            each is beside or same(each, beside, depth + 1) for each, beside in zip(one, other, strict=True)
        )
    if kind is dict:
        return len(one) == len(other) and all(
            same(key, beside, depth + 1) and same(value, by, depth + 1)
            for (key, value), (beside, by) in zip(one.items(), other.items(), strict=True)
        )
    if kind is set or kind is frozenset:
        # Their order may depend on how they were made, and a function may depend on their order.
        return len(one) == len(other) and all(
            same(each, beside, depth + 1) for each, beside in zip(one, other, strict=True)
        )
    if kind is range or kind is slice:
        return same(one.start, other.start) and same(one.stop, other.stop) and same(one.step, other.step)
    if kind is types.MethodType:
        return one.__func__ is other.__func__ and one.__self__ is other.__self__
    if is_array(one):
        return is_array(other) and _same_array(one, other)
    if is_array_scalar(one):
        return bool(one.dtype == other.dtype and one.tobytes() == other.tobytes())
    if is_dtype(one):
        return bool(one == other and one.metadata is None and other.metadata is None)
    return False


def _same_array(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape or one.strides != other.strides:
        return False
    if one.flags.writeable != other.flags.writeable or one.dtype.metadata or other.dtype.metadata:
        return False
    if one.flags.c_contiguous and one.size:
        return bool(memoryview(one.view("u1").reshape(-1)) == memoryview(other.view("u1").reshape(-1)))
    return bool(one.tobytes() == other.tobytes())


def is_lasting(value: Any, depth: int = 0) -> bool:
    """Whether nothing that a program does can change a value, or anything in it."""
    kind = type(value)
    if kind in _LASTING:
        return True
    if kind is tuple or kind is frozenset:
        return depth < _MAX_DEPTH and len(value) < 1000 and all(is_lasting(each, depth + 1) for each in value)
    if kind is types.FunctionType:
        return value.__closure__ is None
    if kind is types.BuiltinFunctionType:
        return value.__self__ is None or type(value.__self__) is types.ModuleType
    if kind is slice:
        return all(is_lasting(each, depth + 1) for each in (value.start, value.stop, value.step))
    return is_array_scalar(value)


def stays_as_it_is(value: Any, depth: int = 0) -> bool:
    """Whether a value changes only at sync-points; loops move iterators. On closures see `leaking`."""
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind in (list, tuple, set, frozenset, dict):
        if depth > _MAX_DEPTH:
            return False
        inner = [*value, *value.values()] if kind is dict else value
        return all(type(each) in SCALARS or stays_as_it_is(each, depth + 1) for each in inner)
    if kind is types.MethodType:
        return stays_as_it_is(value.__self__, depth + 1)
    if kind is partial:
        return stays_as_it_is((value.func, value.args, value.keywords), depth + 1)
    return not hasattr(kind, "__next__")


def estimated_bytes(value: Any, depth: int = 0) -> int:
    """About how much memory a value takes; quick rather than exact."""
    kind = type(value)
    if kind is str or kind is bytes:
        return 50 + len(value)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return 50 + _of_some(value, depth)
    if kind is dict:
        return 50 + 2 * _of_some(value.values(), depth)
    if is_array(value):
        return 100 + int(value.nbytes)
    return 50


def _of_some(values: Any, depth: int) -> int:
    """The size of the elements, from a look at the first ones."""
    size = len(values)
    if not size or depth > 3:
        return 8 * size
    looked, total = 0, 0
    for each in values:
        total += estimated_bytes(each, depth + 1)
        looked += 1
        if looked == 8:
            break
    return total * size // looked
