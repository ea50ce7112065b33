"""Which variables may be seen by function objects that are anywhere: binding them anew changes what those do.

A lambda or inner function that was put into an object, or is an argument of a functional call, travels with
the values that its variables have when the call is started. Were foresight to bind such a variable ahead of
the real run, the function would still see the real run's value; so it must not start calls beyond that.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .pure_calls import EAGER_CONSUMERS

if TYPE_CHECKING:
    from ..scopes import Scope
    from .emitting import Definitions

__all__ = ["leaks"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LOOPS = (ast.For, ast.While, ast.comprehension)


def leaks(definitions: Definitions, owner: Scope, name: str) -> bool:
    """Whether binding a variable may change what a function object does that foresight doesn't see.

    Args:
        definitions: Those of the scheduled function.
        owner: The scope whose variable it is.
        name: The variable.
    """
    bindings = owner.bindings.get(name, [])
    once = len(bindings) == 1 and not _is_in_loop(definitions, bindings[0])
    for use in definitions.uses.get((id(owner), name), []):
        scope: Scope | None = definitions.scopes.of[use]
        while scope is not None and scope is not owner:
            if not scope.is_inline and not _is_only_called(definitions, scope):
                # Made after the only binding, it sees the value as it will always be.
                if not (once and _bound_before(definitions, bindings[0], scope.node)):
                    return True
            scope = scope.parent
    return False


def _bound_before(definitions: Definitions, binding: ast.AST, function: ast.AST) -> bool:
    """Whether the statement of a binding is over where a function is made."""
    at: ast.AST | None = binding
    while at is not None and not isinstance(at, ast.stmt):
        if isinstance(at, ast.arguments):
            return True
        at = definitions.code.parents.get(at)
    assert isinstance(at, ast.stmt) and isinstance(function, ast.stmt | ast.expr)
    end = at.end_lineno or at.lineno, at.end_col_offset or at.col_offset
    return end <= (function.lineno, function.col_offset)


def _is_in_loop(definitions: Definitions, node: ast.AST) -> bool:
    at = definitions.code.parents.get(node)
    while at is not None and not isinstance(at, _FUNCTIONS):
        if isinstance(at, _LOOPS):
            return True
        at = definitions.code.parents.get(at)
    return False


def _is_only_called(definitions: Definitions, scope: Scope) -> bool:
    """Whether a function's object is never anything but called, so that it is nowhere else."""
    node, parents = scope.node, definitions.code.parents
    if isinstance(node, ast.GeneratorExp):
        call = parents.get(node)
        if isinstance(call, ast.For):
            return call.iter is node  # it runs when the loop asks for an item
        return (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and (call.func.id in EAGER_CONSUMERS or call.func.id in ("any", "all"))
            and definitions.is_builtin(call.func)
        )
    if not isinstance(node, ast.FunctionDef) or node.decorator_list or scope.parent is None:
        return False
    owner = scope.parent.owner(node.name)
    if owner is None:
        return False
    uses = definitions.uses.get((id(owner), node.name), [])
    return all(isinstance(call := parents.get(use), ast.Call) and call.func is use for use in uses)
