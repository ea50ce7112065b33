"""What classes are made of, and other objects that pickle would refuse or send wrongly."""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import types
import typing
import weakref
from typing import Any

from achilles.by_value.identity import is_main, travels_by_reference

__all__ = ["REDUCERS", "reduce_checked", "reduce_exception", "reduce_of_dataclasses"]


def _reduce_wrapped(context: object, wrapper: Any) -> Any:
    return type(wrapper), (wrapper.__func__,)


def _reduce_property(context: object, prop: property) -> Any:
    return type(prop), (prop.fget, prop.fset, prop.fdel, prop.__doc__)


def _reduce_mapping_proxy(context: object, proxy: types.MappingProxyType[Any, Any]) -> Any:
    return types.MappingProxyType, (dict(proxy),)


def _reduce_cached_property(context: object, prop: functools.cached_property[Any]) -> Any:
    return _make_cached_property, (prop.func, prop.attrname, prop.__doc__)


def _make_cached_property(func: Any, name: str | None, doc: str | None) -> Any:
    made: functools.cached_property[Any] = functools.cached_property(func)
    made.attrname, made.__doc__ = name, doc
    return made


def _reduce_lru_cache(context: object, wrapper: Any) -> Any:
    if travels_by_reference(wrapper):
        return NotImplemented
    parameters = wrapper.cache_parameters()
    made_anew = ("__wrapped__", "cache_parameters")
    extra = {key: value for key, value in vars(wrapper).items() if key not in made_anew}
    return _make_lru_cache, (wrapper.__wrapped__, parameters["maxsize"], parameters["typed"]), extra or None


def _make_lru_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def reduce_of_dataclasses(context: object, marker: Any) -> Any:
    """An object of a type in the module `dataclasses`, which tells its markers apart by identity."""
    # Whoever has one has loaded it; a worker should not have to.
    import dataclasses

    for name, value in vars(dataclasses).items():
        if value is marker:
            return getattr, (dataclasses, name)
    return NotImplemented


def _reduce_new_type(context: object, new_type: Any) -> Any:
    if travels_by_reference(new_type):
        return NotImplemented
    return _make_new_type, (new_type.__name__, new_type.__supertype__, new_type.__module__)


_new_type: Any = typing.NewType  # called with what no type checker could know


def _make_new_type(name: str, supertype: Any, module: str) -> Any:
    made: Any = _new_type(name, supertype)
    made.__module__ = module
    return made


def _reduce_weak_reference(context: object, reference: weakref.ref[Any]) -> Any:
    # Here rather than through dill: the referent has to be the one in this payload.
    return _make_weak_reference, (reference(),)


class _Gone:
    """Referent of references that arrive dead."""


def _make_weak_reference(referent: Any) -> weakref.ref[Any]:
    return weakref.ref(_Gone() if referent is None else referent)


def _reduce_module(context: object, module: types.ModuleType) -> Any:
    name = module.__name__
    if is_main(name) or sys.modules.get(name) is not module:
        raise pickle.PicklingError(
            f"module {name!r} cannot be imported elsewhere; pass the functions and values it holds instead"
        )
    return importlib.import_module, (name,)


def reduce_exception(context: object, error: BaseException) -> Any:
    # By default pickle calls the class with what Exception.__init__ was given, which is not
    # what the class's own __init__ takes.
    reduction: tuple[Any, ...] = error.__reduce__()  # type: ignore[assignment]
    cls, arguments, *state = reduction
    return _make_exception, (cls, arguments), *state


def _make_exception(cls: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    try:
        error = cls(*arguments)
    except Exception:  # noqa: BLE001 - the user's __init__ wants other arguments, or refuses these
        error = cls.__new__(cls, *arguments)
    error.args = arguments
    return error


def reduce_checked(context: object, obj: Any) -> Any:
    """Call the object's own reduction, and refuse a bare name in ``__main__``."""
    reduction = obj.__reduce_ex__(5)
    if isinstance(reduction, str):
        module = getattr(obj, "__module__", None) or pickle.whichmodule(obj, reduction)  # type: ignore[attr-defined]
        if is_main(module):
            raise pickle.PicklingError(
                f"{reduction!r} is pickled as a name in __main__, which other processes do not have; "
                "move it into a module"
            )
    return reduction


REDUCERS: dict[type, Any] = {
    types.ModuleType: _reduce_module,
    classmethod: _reduce_wrapped,
    staticmethod: _reduce_wrapped,
    property: _reduce_property,
    types.MappingProxyType: _reduce_mapping_proxy,
    functools.cached_property: _reduce_cached_property,
    type(functools.lru_cache(len)): _reduce_lru_cache,
    weakref.ReferenceType: _reduce_weak_reference,
    typing.NewType: _reduce_new_type,
}
