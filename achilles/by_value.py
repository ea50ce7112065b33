"""The pickler: C speed for data, and a way for what plain pickle cannot send.

Everything another process can import goes by reference. What it cannot (functions and classes of
``__main__``, of notebooks and of function bodies, lambdas, closures) is reduced here to code,
globals and cells, inside the same pickle: so sharing and cycles between functions, classes and data
survive, and arrays held by closures leave out of band. A function takes along just the globals that
its bytecode names. Two functions of one module share one namespace within a payload, so that a
``global`` statement in one is seen by the other.

What is left (weak references, views of dictionaries, contexts, ...) is dill's: it is imported only
after C pickle has refused an object. No reference to ``__main__`` is ever written.
"""

from __future__ import annotations

import builtins
import copyreg
import dataclasses
import dis
import functools
import importlib
import io
import marshal
import pickle
import sys
import types
import typing
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from achilles.class_by_value import (
    is_main,
    reduce_class,
    reduce_type_variable,
    travels_by_reference,
)

__all__ = ["Pickler", "global_names"]

Reducer = Callable[[Any, Any], Any]

_GLOBAL_OPCODES = frozenset(
    ["LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"]
)
_names_of_code: WeakKeyDictionary[types.CodeType, frozenset[str]] = WeakKeyDictionary()


class Pickler(pickle.Pickler):
    """C pickler, protocol 5, with reductions by value.

    Args:
        sink: Object whose ``write`` receives bytes.
        buffer_callback: As in `pickle.Pickler`.
        with_dill: Let dill take what would otherwise fail.
        definitive: The payload carries a job's function: classes in it supersede what the
            receiver has of them.

    ``by_value`` is true afterwards if bytecode was written.
    """

    def __init__(
        self,
        sink: Any,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        with_dill: bool = False,
        definitive: bool = False,
    ) -> None:
        super().__init__(sink, 5, buffer_callback=buffer_callback)
        self.by_value = False
        self.definitive = definitive
        self.namespaces: dict[int, Any] = {}
        self.reducers = _Reducers(_REDUCERS)
        self.reducers.with_dill = with_dill

    def reducer_override(self, obj: Any) -> Any:
        # Called for each object that is not a plain built-in, so for each instance: keep it short.
        reducer = self.reducers[type(obj)]
        return NotImplemented if reducer is None else reducer(self, obj)


class _Reducers(dict[type, "Reducer | None"]):
    """The reducer for each type, found once per payload (so that it keeps no class alive)."""

    with_dill = False

    def __missing__(self, kind: type) -> Reducer | None:
        reducer = self[kind] = self._find(kind)
        return reducer

    def _find(self, kind: type) -> Reducer | None:
        if issubclass(kind, type):
            return reduce_class
        if kind in copyreg.dispatch_table:
            return None
        if issubclass(kind, BaseException):
            plain = kind.__reduce__ is BaseException.__reduce__
            if plain and kind.__reduce_ex__ is object.__reduce_ex__ and kind.__module__ != "builtins":
                return _reduce_exception
        if self.with_dill and _is_for_dill(kind):
            return _reduce_with_dill
        for name in ("__reduce_ex__", "__reduce__"):
            if isinstance(getattr(kind, name, None), types.FunctionType):
                return _reduce_checked
        return None


# --- functions -------------------------------------------------------------------------------


def global_names(code: types.CodeType) -> frozenset[str]:
    """The global names that code, or code within it, reads or writes."""
    names = _names_of_code.get(code)
    if names is None:
        found = {step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL_OPCODES}
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                found |= global_names(constant)
        names = _names_of_code[code] = frozenset(found)
    return names


class _ModuleGlobals:
    """Stands for the globals of a module that the other side can import."""

    def __init__(self, module: str) -> None:
        self.module = module

    def __reduce__(self) -> tuple[Any, ...]:
        return _module_globals, (self.module,)


def _module_globals(module: str) -> dict[str, Any]:
    return vars(importlib.import_module(module))


def _reduce_function(pickler: Pickler, function: types.FunctionType) -> Any:
    if travels_by_reference(function):
        return NotImplemented
    code, module_dict = function.__code__, function.__globals__
    namespace = pickler.namespaces.get(id(module_dict))
    if namespace is None:
        namespace = pickler.namespaces[id(module_dict)] = _namespace(module_dict)
    values: dict[str, Any] = {}
    imports: list[str] = []
    if not isinstance(namespace, _ModuleGlobals):
        names = global_names(code)
        values = {name: module_dict[name] for name in names if name in module_dict}
        values.pop("__builtins__", None)
        imports = _submodules_used(code, values)
    attributes = {
        name: value
        for name in _FUNCTION_ATTRIBUTES
        if (value := getattr(function, name, None)) is not None and value != {} and value != ()
    }
    state = (values, attributes, dict(function.__dict__), imports)
    arguments = (code, namespace, function.__name__, function.__closure__)
    return _make_function, arguments, state, None, None, _set_function_state


_FUNCTION_ATTRIBUTES = (
    "__qualname__",
    "__module__",
    "__doc__",
    "__defaults__",
    "__kwdefaults__",
    "__annotations__",
    "__type_params__",
)


def _namespace(module_dict: dict[str, Any]) -> Any:
    """What the function's globals become: a module's by reference, else a bare dictionary."""
    name = module_dict.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    spec = getattr(module, "__spec__", None)
    if module is not None and spec is not None and vars(module) is module_dict and not is_main(name):
        return _ModuleGlobals(module.__name__)
    return {key: module_dict[key] for key in ("__name__", "__package__", "__file__") if key in module_dict}


def _submodules_used(code: types.CodeType, values: dict[str, Any]) -> list[str]:
    """Loaded submodules that the code reaches as attributes: ``import a.b`` binds only ``a``."""
    used: list[str] = []
    packages = [v for v in values.values() if isinstance(v, types.ModuleType) and hasattr(v, "__path__")]
    if packages:
        words = _attribute_names(code)
        for package in packages:
            start = package.__name__ + "."
            used += [
                name
                for name in list(sys.modules)
                if name.startswith(start) and words.issuperset(name[len(start) :].split("."))
            ]
    return used


def _attribute_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _attribute_names(constant)
    return names


def _make_function(
    code: types.CodeType, namespace: dict[str, Any], name: str, closure: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    namespace.setdefault("__builtins__", builtins)
    return types.FunctionType(code, namespace, name, None, closure)


def _set_function_state(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    values, attributes, extra, imports = state
    for name in imports:
        importlib.import_module(name)
    function.__globals__.update(values)
    for name, value in attributes.items():
        setattr(function, name, value)
    function.__dict__.update(extra)


def _reduce_code(pickler: Pickler, code: types.CodeType) -> Any:
    pickler.by_value = True
    return marshal.loads, (marshal.dumps(code),)


def _reduce_cell(pickler: Pickler, cell: types.CellType) -> Any:
    try:
        contents = cell.cell_contents
    except ValueError:
        return types.CellType, ()
    # In two steps, since a recursive function is in its own cell.
    return _make_cell, (), (contents,), None, None, _fill_cell


def _make_cell() -> types.CellType:
    return types.CellType()


def _fill_cell(cell: types.CellType, contents: tuple[Any]) -> None:
    cell.cell_contents = contents[0]


def _reduce_method(pickler: Pickler, method: types.MethodType) -> Any:
    name = getattr(method.__func__, "__name__", "")
    if getattr(method.__self__, name, None) == method:
        return NotImplemented
    return types.MethodType, (method.__func__, method.__self__)


# --- what classes are made of ----------------------------------------------------------------


def _reduce_wrapped(pickler: Pickler, wrapper: Any) -> Any:
    return type(wrapper), (wrapper.__func__,)


def _reduce_property(pickler: Pickler, prop: property) -> Any:
    return type(prop), (prop.fget, prop.fset, prop.fdel, prop.__doc__)


def _reduce_mapping_proxy(pickler: Pickler, proxy: types.MappingProxyType[Any, Any]) -> Any:
    return types.MappingProxyType, (dict(proxy),)


def _reduce_cached_property(pickler: Pickler, prop: functools.cached_property[Any]) -> Any:
    return _make_cached_property, (prop.func, prop.attrname, prop.__doc__)


def _make_cached_property(func: Any, name: str | None, doc: str | None) -> Any:
    made: functools.cached_property[Any] = functools.cached_property(func)
    made.attrname, made.__doc__ = name, doc
    return made


def _reduce_lru_cache(pickler: Pickler, wrapper: Any) -> Any:
    if travels_by_reference(wrapper):
        return NotImplemented
    parameters = wrapper.cache_parameters()
    made_anew = ("__wrapped__", "cache_parameters")
    extra = {key: value for key, value in vars(wrapper).items() if key not in made_anew}
    return _make_lru_cache, (wrapper.__wrapped__, parameters["maxsize"], parameters["typed"]), extra or None


def _make_lru_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_dataclass_marker(pickler: Pickler, marker: Any) -> Any:
    # dataclasses tells its markers apart by identity.
    for name, value in vars(dataclasses).items():
        if value is marker:
            return getattr, (dataclasses, name)
    return NotImplemented


def _reduce_new_type(pickler: Pickler, new_type: Any) -> Any:
    if travels_by_reference(new_type):
        return NotImplemented
    return _make_new_type, (new_type.__name__, new_type.__supertype__, new_type.__module__)


_new_type: Any = typing.NewType  # called with what no type checker could know


def _make_new_type(name: str, supertype: Any, module: str) -> Any:
    made: Any = _new_type(name, supertype)
    made.__module__ = module
    return made


# --- other objects ---------------------------------------------------------------------------


def _reduce_module(pickler: Pickler, module: types.ModuleType) -> Any:
    name = module.__name__
    if is_main(name) or sys.modules.get(name) is not module:
        raise pickle.PicklingError(
            f"module {name!r} cannot be imported elsewhere; pass the functions and values it holds instead"
        )
    return importlib.import_module, (name,)


def _reduce_exception(pickler: Pickler, error: BaseException) -> Any:
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


def _reduce_checked(pickler: Pickler, obj: Any) -> Any:
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


# --- dill's part -----------------------------------------------------------------------------

# dill would copy these, and the copy guards or reads nothing.
_NEVER = frozenset(
    ["lock", "RLock", "FileIO", "TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom"]
    + ["PyCapsule", "_ThreadHandle"]
)


def _is_for_dill(kind: type) -> bool:
    from dill import Pickler as DillPickler

    stock: dict[Any, Any] = pickle._Pickler.dispatch
    return kind.__name__ not in _NEVER and kind in DillPickler.dispatch and kind not in stock


def _reduce_with_dill(pickler: Pickler, obj: Any) -> Any:
    from dill import Pickler as DillPickler

    class NestedPickler(DillPickler):  # type: ignore[misc]
        """dill for the object itself; functions and classes below it as everywhere else."""

        def reducer_override(self, inner: Any) -> Any:
            reducer = plain[type(inner)]
            return NotImplemented if reducer is None else reducer(pickler, inner)

    plain = _Reducers(_REDUCERS)
    out = io.BytesIO()
    NestedPickler(out, protocol=5, recurse=True).dump(obj)
    return _load_with_dill, (out.getvalue(),)


def _load_with_dill(payload: bytes) -> Any:
    import dill

    return dill.loads(payload, ignore=True)


_REDUCERS: dict[type, Reducer | None] = {
    types.FunctionType: _reduce_function,
    type: reduce_class,
    types.CodeType: _reduce_code,
    types.CellType: _reduce_cell,
    types.MethodType: _reduce_method,
    types.ModuleType: _reduce_module,
    classmethod: _reduce_wrapped,
    staticmethod: _reduce_wrapped,
    property: _reduce_property,
    types.MappingProxyType: _reduce_mapping_proxy,
    functools.cached_property: _reduce_cached_property,
    type(functools.lru_cache(len)): _reduce_lru_cache,
    type(dataclasses.MISSING): _reduce_dataclass_marker,
    type(dataclasses.KW_ONLY): _reduce_dataclass_marker,
    type(dataclasses._FIELD): _reduce_dataclass_marker,  # type: ignore[attr-defined]
    type(dataclasses._HAS_DEFAULT_FACTORY): _reduce_dataclass_marker,  # type: ignore[attr-defined]
    typing.TypeVar: reduce_type_variable,
    typing.ParamSpec: reduce_type_variable,
    typing.TypeVarTuple: reduce_type_variable,
    typing.NewType: _reduce_new_type,
}
