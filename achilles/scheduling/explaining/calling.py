"""What the function of each call site is, as far as that is known before the call."""

from __future__ import annotations

import ast
import builtins
from types import ModuleType
from typing import Any

from ..code import ScheduledCode
from ..functional import is_functional

__all__ = ["FUNCTIONAL", "INNER", "PLAIN", "UNKNOWN", "kinds_of"]

FUNCTIONAL = "functional"  # it is marked
UNKNOWN = "unknown"  # only the call will tell: a variable, an attribute of an object, a name not defined yet
INNER = "inner"  # defined in the scheduled function, with sites of its own
PLAIN = "plain"  # not marked

_NOT_FOUND = object()


def kinds_of(code: ScheduledCode) -> dict[int, str]:
    """The kind of each site's function, by the site's number."""
    return {number: _kind(code, call) for number, call in code.sites.items()}


def _kind(code: ScheduledCode, call: ast.Call) -> str:
    if code.callees.may_be_inner(call, {id(node) for node in code.inner.values()}):
        return INNER
    found = _look_up(code, call.func)
    if found is _NOT_FOUND:
        return UNKNOWN
    return FUNCTIONAL if is_functional(found) else PLAIN


def _look_up(code: ScheduledCode, node: ast.expr) -> Any:
    """What a global name or a module's attribute is now, without running anybody's code."""
    if isinstance(node, ast.Attribute):
        found = _look_up(code, node.value)
        return vars(found).get(node.attr, _NOT_FOUND) if type(found) is ModuleType else _NOT_FOUND
    if not isinstance(node, ast.Name) or code.callees.scopes.of[node].owner(node.id) is not None:
        return _NOT_FOUND
    names = code.function.__code__.co_freevars
    if node.id in names:
        cells = code.function.__closure__ or ()
        try:
            return cells[names.index(node.id)].cell_contents
        except ValueError:  # not bound yet
            return _NOT_FOUND
    missing = getattr(builtins, node.id, _NOT_FOUND)
    return code.function.__globals__.get(node.id, missing)
