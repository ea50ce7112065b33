"""Functions as code, cells and just the globals that their bytecode names."""

from __future__ import annotations

import builtins
import importlib
import marshal
import sys
import types
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from achilles.by_value.identity import is_main, travels_by_reference

__all__ = ["global_names", "reduce_cell", "reduce_code", "reduce_function", "reduce_method"]

_GLOBAL_OPCODES = frozenset(
    ["LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"]
)
_names_of_code: WeakKeyDictionary[types.CodeType, frozenset[str]] = WeakKeyDictionary()


class Context(Protocol):
    """What reducers of functions know of the payload being written."""

    by_value: bool
    namespaces: dict[int, Any]


def global_names(code: types.CodeType) -> frozenset[str]:
    """The global names that code, or code within it, reads or writes."""
    names = _names_of_code.get(code)
    if names is None:
        import dis  # most functions travel by their names

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


def reduce_function(context: Context, function: types.FunctionType) -> Any:
    if travels_by_reference(function):
        return NotImplemented
    code, module_dict = function.__code__, function.__globals__
    namespace = context.namespaces.get(id(module_dict))
    if namespace is None:
        namespace = context.namespaces[id(module_dict)] = _namespace(module_dict)
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


def reduce_code(context: Context, code: types.CodeType) -> Any:
    context.by_value = True
    return marshal.loads, (marshal.dumps(code),)


def reduce_cell(context: Context, cell: types.CellType) -> Any:
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


def reduce_method(context: Context, method: types.MethodType) -> Any:
    name = getattr(method.__func__, "__name__", "")
    if getattr(method.__self__, name, None) == method:
        return NotImplemented
    return types.MethodType, (method.__func__, method.__self__)
