"""Functions that foresight may call: listed built-ins, those of `math` and NumPy, methods that only read.

They are called only with arguments that are plain through and through (`plain_types`), so that none of them
reaches user code. What a program adds with ``schedule(pure=[…])`` is called with whatever it is given.
"""

from __future__ import annotations

import builtins
import cmath
import math
import types
from collections.abc import Callable
from typing import Any, Final

from .operations import _quietly, attribute
from .plain_types import (
    COSTLY_ITEMS,
    SCALARS,
    is_array,
    is_class,
    numpy_module,
    require_plain,
    require_plain_keys,
)
from .values import Unsafe

__all__ = ["EAGER_CONSUMERS", "PURE_BUILTINS", "PURE_METHODS", "VIEWS", "call_pure", "is_pure"]

PURE_BUILTINS: Final[dict[str, Any]] = {
    name: getattr(builtins, name)
    for name in (
        "abs all any ascii bin bool bytes callable chr complex dict divmod enumerate float format frozenset "
        "getattr hasattr hex int isinstance len list max min oct ord pow range repr reversed round set slice "
        "sorted str sum tuple type zip"
    ).split()
}
# Built-ins that take all of a generator expression's items at once, before anything else happens.
EAGER_CONSUMERS: Final = frozenset("dict frozenset list max min set sorted sum tuple".split())

# Methods of built-in types that read their object and change nothing.
PURE_METHODS: Final[dict[type, frozenset[str]]] = {
    list: frozenset({"copy", "count", "index"}),
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    set: frozenset(
        {"copy", "difference", "intersection", "isdisjoint", "issubset", "issuperset"}
        | {"symmetric_difference", "union"}
    ),
}
_ALL_METHODS_PURE = (str, bytes, tuple, frozenset, int, float, complex, bool, range, slice)
_ARRAY_METHODS = frozenset(
    "all any argmax argmin argsort astype clip conj conjugate copy cumprod cumsum diagonal dot flatten item "
    "max mean min nonzero prod ravel repeat reshape round searchsorted squeeze std sum swapaxes take tobytes "
    "tolist trace transpose var view".split()
)
_NUMPY_FUNCTIONS = (
    "abs all allclose any arange argmax argmin argsort array array_equal asarray ascontiguousarray "
    "atleast_1d atleast_2d average clip column_stack concatenate cross cumprod cumsum diff dot empty_like "
    "expand_dims eye full full_like hstack identity inner interp isclose linspace logspace max mean median "
    "meshgrid min moveaxis nanmax nanmean nanmin nansum ndim ones ones_like outer percentile prod quantile "
    "ravel reshape roll shape size sort split squeeze stack std sum tile transpose unique var vdot vstack "
    "where zeros zeros_like"
).split()
_MATH = frozenset(
    id(function)
    for module in (math, cmath)
    for function in vars(module).values()
    if isinstance(function, types.BuiltinFunctionType) and function is not math.factorial
)
_BUILTINS_BY_ID = {id(function): name for name, function in PURE_BUILTINS.items()}
# These look at no element.
_SHALLOW = frozenset({"callable", "enumerate", "isinstance", "len", "list", "range", "reversed", "tuple"})
_SHALLOW |= {"type", "zip"}
_PLAIN_READING: Any = object.__getattribute__
VIEWS: Final[tuple[type, ...]] = (type({}.keys()), type({}.values()), type({}.items()))
_LOOKED_THROUGH = frozenset({list, tuple, dict, set, frozenset, str, bytes, range, *SCALARS, *VIEWS})
_numpy_ids: frozenset[int] = frozenset()


def is_pure(function: Any, also: tuple[Any, ...] = ()) -> bool:
    """Whether foresight may call a function, as far as that depends on the function alone.

    Args:
        function: The function.
        also: What ``schedule(pure=[…])`` named; compared by identity.
    """
    number = id(function)
    if number in _BUILTINS_BY_ID or number in _MATH:
        return True
    kind = type(function)
    if kind is types.BuiltinFunctionType:
        return _is_reading_method(function)
    numpy = numpy_module()
    if numpy is not None and (kind is numpy.ufunc or number in _numpy_functions(numpy)):
        return True
    return _is_listed(function, also)


def _is_listed(function: Any, also: tuple[Any, ...]) -> bool:
    """Whether ``schedule(pure=[…])`` named a function, or the function of a bound method."""
    if any(function is each for each in also):
        return True
    return type(function) is types.MethodType and any(
        function.__func__ is each
        or (
            type(each) is types.MethodType
            and each.__func__ is function.__func__
            and each.__self__ is function.__self__
        )
        for each in also
    )


def _is_reading_method(function: Any) -> bool:
    owner = type(function.__self__)
    if owner in _ALL_METHODS_PURE:
        return True
    if owner in PURE_METHODS:
        return function.__name__ in PURE_METHODS[owner]
    numpy = numpy_module()
    return (
        numpy is not None
        and (owner is numpy.ndarray or issubclass(owner, numpy.generic))
        and function.__name__ in _ARRAY_METHODS
    )


def _numpy_functions(numpy: Any) -> frozenset[int]:
    global _numpy_ids
    if not _numpy_ids:
        found = (getattr(numpy, name, None) for name in _NUMPY_FUNCTIONS)
        # Python's own built-ins appear under NumPy's name too; those are judged above.
        _numpy_ids = frozenset(id(each) for each in found if each is not None)
    return _numpy_ids


def call_pure(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], also: tuple[Any, ...] = ()
) -> Any:
    """Call a function for which `is_pure` holds, if the arguments allow it.

    Raises:
        Unsafe: They don't.
        Exception: What the function raises for them; the real run will see that too.
    """
    if _is_listed(function, also):
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise Unsafe(f"{type(error).__name__} is raised") from error
    name = _BUILTINS_BY_ID.get(id(function))
    if name is not None:
        return _call_builtin(name, function, args, kwargs)
    owner = getattr(function, "__self__", None)
    if owner is not None and type(owner) is not types.ModuleType:
        if type(owner) in (list, dict) and function.__name__ in ("copy", "get", "items", "keys", "values"):
            require_plain(*args[:1])  # what the container holds isn't looked at, but for keys
            if function.__name__ == "get":
                require_plain_keys(owner)
        else:
            require_plain(owner, *args, *kwargs.values())
    else:
        require_plain(*args, *kwargs.values())
    if "out" in kwargs or (type(function).__name__ == "ufunc" and len(args) > function.nin):
        raise Unsafe("a result that is written into an array")
    _limit_sizes(function, args, kwargs)
    return _quietly(function, *args) if not kwargs else _quietly(lambda: function(*args, **kwargs))


def _call_builtin(name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name in ("getattr", "hasattr"):
        return _read(name, args)
    if name == "isinstance":
        if not all(is_class(each) for each in _classes(args[1])):
            raise Unsafe("isinstance() with a class that may have its own idea of it")
        if type(args[0]).__getattribute__ is not _PLAIN_READING:  # it is asked for __class__
            require_plain(args[0])
        return isinstance(args[0], args[1])
    if name == "type" and len(args) != 1:
        raise Unsafe("a class made by type()")
    if name in _SHALLOW:
        for each in (*args, *kwargs.values()):
            if type(each) not in _LOOKED_THROUGH:
                if name in ("type", "callable") or (is_array(each) and name == "len"):
                    continue
                require_plain(each)
        if name in ("list", "tuple") and args and len(args[0]) > COSTLY_ITEMS * 10:
            raise Unsafe("a copy of many elements")
        return function(*args, **kwargs)
    require_plain(*args, *kwargs.values())
    if name in ("float", "int", "complex", "bool") and any(is_array(each) and each.ndim for each in args):
        raise Unsafe("the number in an array")
    _limit_sizes(function, args, kwargs)
    return _quietly(function, *args) if not kwargs else function(*args, **kwargs)


def _classes(given: Any) -> tuple[Any, ...]:
    return given if type(given) is tuple else (given,)


def _read(name: str, args: tuple[Any, ...]) -> Any:
    if len(args) < 2 or type(args[1]) is not str:
        raise Unsafe(f"{name}() of what isn't a name")
    try:
        found = attribute(args[0], args[1])
    except AttributeError:
        if name == "getattr":
            if len(args) > 2:
                return args[2]
            raise
        return False
    return found if name == "getattr" else True


def _limit_sizes(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse what takes long: many items, or large numbers that stand for sizes."""
    for each in args:
        if type(each) is range and len(each) > COSTLY_ITEMS:
            raise Unsafe("a call with many elements")
    if type(function) is type or getattr(function, "__module__", None) in (None, "builtins"):
        if function in (bytes,) and args and type(args[0]) is int and args[0] > COSTLY_ITEMS:
            raise Unsafe("many bytes")
        if function is pow and len(args) == 2:
            if all(type(each) is int for each in args) and args[0].bit_length() * abs(args[1]) > 1 << 16:
                raise Unsafe("a power of many digits")
        if getattr(function, "__self__", None).__class__ in (str, bytes):
            if any(type(each) is int and abs(each) > COSTLY_ITEMS for each in args):
                raise Unsafe("a long text")
        return
    if getattr(function, "__module__", None) == "math":
        if any(type(each) is int and abs(each) > 1 << 63 for each in args):
            raise Unsafe("large numbers")
        if function in (math.comb, math.perm) and any(type(n) is int and n > 1000 for n in args):
            raise Unsafe("large numbers")
        return
    sizes = [n for each in (*args, *kwargs.values()) for n in (each if type(each) is tuple else (each,))]
    product = 1
    for each in sizes:
        if type(each) is int and each > 1:
            product *= each
    if product > COSTLY_ITEMS * 20:
        raise Unsafe("an array that may be large")
