"""Which calls may turn out to be functional: looked up once, so that all others run as they are written.

A call's function is looked up when the function is prepared: names of globals, of cells of the closure,
and attributes of modules. What depends on variables is asked at each call, at run time. Methods with a name
that a method of a built-in type has (``append``, ``items``, …) aren't asked, unless a marked function has it.
Missing one costs parallelism, never correctness.
"""

from __future__ import annotations

import ast
import builtins
import io
import sys
from types import FunctionType, ModuleType
from typing import Any

from .functional import is_functional, marked_names
from .scopes import Scope, Scopes

__all__ = ["Callees"]

_TYPES = (
    list,
    dict,
    set,
    frozenset,
    str,
    bytes,
    bytearray,
    tuple,
    int,
    float,
    complex,
    slice,
    io.StringIO,
    io.FileIO,
)
_PLAIN_METHODS = frozenset(name for kind in _TYPES for name in dir(kind) if not name.startswith("_"))
_UNKNOWN = object()


class Callees:
    """The functions that the calls of a definition name.

    Attributes:
        scopes: Who owns which name in the definition.
    """

    def __init__(self, tree: ast.FunctionDef, function: FunctionType) -> None:
        self.scopes = Scopes(tree)
        self._function = function
        self._cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        # By name, whether it was functional, to notice when that changes.
        self._seen: dict[str, bool] = {}
        self._seen_attributes: list[tuple[ModuleType, str, bool]] = []

    def changed(self) -> bool:
        """Whether a name that was looked up has become functional, or has ceased to be."""
        return any(is_functional(self._global(name)) != marked for name, marked in self._seen.items()) or any(
            is_functional(vars(module).get(name)) != marked for module, name, marked in self._seen_attributes
        )

    def may_be_functional(self, call: ast.Call) -> bool:
        """Whether the function of a call is functional, or is known only at run time."""
        if isinstance(call.func, ast.Name):
            name, scope = call.func.id, self.scopes.of[call.func]
            owner = scope.owner(name)
            if owner is not None:
                return not self._is_plain_definition(name, owner)
            found = self._look_up(name)
            return found is _UNKNOWN or is_functional(found)
        if isinstance(call.func, ast.Attribute):
            found = self._attribute(call.func)
            if found is _UNKNOWN:
                return call.func.attr in marked_names or call.func.attr not in _plain_methods()
            return is_functional(found)
        return False

    def may_be_inner(self, call: ast.Call, inner: set[int]) -> bool:
        """Whether a call names an inner function of those with these ids."""
        if not isinstance(call.func, ast.Name):
            return False
        owner = self.scopes.of[call.func].owner(call.func.id)
        return owner is not None and any(id(node) in inner for node in owner.bindings[call.func.id])

    def known(self, call: ast.Call) -> Any:
        """The function of a call, if it is looked up once; else an object that is no function."""
        if isinstance(call.func, ast.Name):
            if self.scopes.of[call.func].owner(call.func.id) is not None:
                return _UNKNOWN
            return self._look_up(call.func.id)
        return self._attribute(call.func) if isinstance(call.func, ast.Attribute) else _UNKNOWN

    def is_builtin(self, name: str) -> bool:
        """Whether a name that the definition doesn't bind means the built-in of that name."""
        found = getattr(builtins, name, _UNKNOWN)
        return found is not _UNKNOWN and self._global(name) is found

    def _is_plain_definition(self, name: str, owner: Scope) -> bool:
        """Whether a variable is bound once, by a definition without decorators."""
        bindings = owner.bindings[name]
        return (
            len(bindings) == 1
            and isinstance(bindings[0], ast.FunctionDef | ast.ClassDef)
            and not bindings[0].decorator_list
        )

    def _attribute(self, node: ast.Attribute) -> Any:
        """What an attribute of a module is, without running anybody's code."""
        base = node.value
        if isinstance(base, ast.Name):
            if self.scopes.of[base].owner(base.id) is not None:
                return _UNKNOWN
            found = self._look_up(base.id)
        elif isinstance(base, ast.Attribute):
            found = self._attribute(base)
        else:
            return _UNKNOWN
        if type(found) is not ModuleType:
            return _UNKNOWN
        value = vars(found).get(node.attr, _UNKNOWN)
        self._seen_attributes.append((found, node.attr, is_functional(value)))
        return value

    def _look_up(self, name: str) -> Any:
        found = self._global(name)
        self._seen[name] = is_functional(found)
        return found

    def _global(self, name: str) -> Any:
        cell = self._cells.get(name)
        if cell is not None:
            try:
                return cell.cell_contents
            except ValueError:
                return _UNKNOWN  # not bound yet
        names = self._function.__globals__
        return names[name] if name in names else getattr(builtins, name, _UNKNOWN)


def _plain_methods() -> frozenset[str]:
    numpy = sys.modules.get("numpy")
    return _PLAIN_METHODS if numpy is None else _PLAIN_METHODS | _array_methods(numpy)


def _array_methods(numpy: Any) -> frozenset[str]:
    return frozenset(dir(numpy.ndarray))
