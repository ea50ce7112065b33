"""Which variables of a scheduled function may hold results that stayed where they were made.

Decided on the tree, for each function, whatever the order of its statements. Two kinds:

singles  Bound to the result of a call site (``y = f(x)``), or by a ``for`` over a list of such: hold a result
         or its handle.
lists    Own lists (`foresight.own_lists`): made in the function, seen by nobody else. Their elements may be
         handles.

A variable that an inner function, a generator expression or a class body sees is neither, nor is one that is
declared global or nonlocal. In a function that may look at its own variables (``locals()``, ``exec()``, …)
there is none.
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from .code import ScheduledCode
from .foresight.own_lists import OwnLists
from .functional import is_functional
from .scopes import Scope

__all__ = ["INTROSPECTING", "Kept", "iterated_lists", "kept_variables", "target_names"]

#: A function that names one of these may look at its own variables.
INTROSPECTING = frozenset(["locals", "vars", "dir", "eval", "exec", "sys", "inspect"])

_ITERATORS = frozenset(["enumerate", "reversed", "zip"])


class Kept(NamedTuple):
    """Variables of one function.

    Attributes:
        singles: May hold a handle.
        lists: May hold a list with handles.
        clauses: Numbers of comprehensions' clauses over such lists: their targets may hold handles.
    """

    singles: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    clauses: frozenset[int] = frozenset()


def kept_variables(code: ScheduledCode) -> dict[int | None, Kept]:
    """What each function within a scheduled function may keep.

    Loops over lists of handles get a mark, ``.raw``: their targets may hold handles.

    Returns:
        By the number of the inner function; None: the scheduled function itself.
    """
    if not INTROSPECTING.isdisjoint(code.function.__code__.co_names):
        return {}
    search = _Search(code)
    found: dict[int | None, Kept] = {None: search.kept(code.tree)}
    for number, node in code.inner.items():
        if isinstance(node, ast.FunctionDef):
            found[number] = search.kept(node)
    return found


def iterated_lists(node: ast.expr) -> list[str]:
    """The variables whose elements a loop over an expression gets as they are."""
    if isinstance(node, ast.Name):
        return [node.id]
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _ITERATORS
        and all(isinstance(each.value, ast.Constant) for each in node.keywords)  # strict=True, start=1
    ):
        return [each.id for each in node.args if isinstance(each, ast.Name)]
    return []


def target_names(node: ast.expr) -> list[str] | None:
    """The variables of a loop's target; None if it isn't made of plain names."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Tuple):
        names = [target_names(each) for each in node.elts]
        return None if None in names else [name for each in names for name in each or ()]
    return None


class _Search:
    def __init__(self, code: ScheduledCode) -> None:
        self._code = code
        self._scopes = code.callees.scopes
        self._uses: dict[tuple[str, int], list[ast.Name]] = {}
        for node, scope in self._scopes.of.items():
            if isinstance(node, ast.Name):
                owner = scope.owner(node.id)
                if owner is not None:
                    self._uses.setdefault((node.id, id(owner)), []).append(node)
        handlers = [node for node in self._scopes.of if isinstance(node, ast.ExceptHandler) and node.type]
        self._in_handlers = {
            each.id
            for handler in handlers
            if handler.type is not None
            for each in ast.walk(handler.type)
            if isinstance(each, ast.Name)
        }

    def kept(self, function: ast.FunctionDef) -> Kept:
        scope = next(each for each in self._scopes.all if each.node is function)
        eligible = {name for name in scope.bindings if self._is_eligible(name, scope)}
        own = OwnLists(self._code.parents, self._is_builtin, self._is_functional)
        uses = {name: self._uses.get((name, id(scope)), []) for name in eligible}
        lists = own.find(scope, uses, lambda name: name not in eligible)
        singles = {name for name in eligible if any(map(self._is_result, scope.bindings[name]))}
        clauses = set()
        for number, loop in self._code.loops.items():
            if (
                not isinstance(loop, ast.For | ast.comprehension)
                or self._code.function_of(loop) is not function
            ):
                continue
            names = target_names(loop.target)
            if names is None or lists.isdisjoint(iterated_lists(loop.iter)):
                continue
            if not self._is_builtin_call(loop.iter):
                continue
            if isinstance(loop, ast.comprehension):
                clauses.add(number)
            elif eligible.issuperset(names):
                singles.update(names)
                loop.raw = True  # type: ignore[attr-defined]
        return Kept(frozenset(singles - lists), lists, frozenset(clauses))

    def _is_eligible(self, name: str, scope: Scope) -> bool:
        return not (
            self._scopes.shared(name) or name in self._in_handlers or self._scopes.captured(name, scope)
        )

    def _is_result(self, binding: ast.AST) -> bool:
        parent = self._code.parents.get(binding)
        if isinstance(parent, ast.Assign):
            return hasattr(parent.value, "site") and all(
                isinstance(each, ast.Name) for each in parent.targets
            )
        return isinstance(parent, ast.AnnAssign) and hasattr(parent.value, "site")

    def _is_builtin(self, node: ast.Name) -> bool:
        return self._code.callees.is_builtin(node.id) and self._scopes.of[node].owner(node.id) is None

    def _is_builtin_call(self, node: ast.expr) -> bool:
        return not isinstance(node, ast.Call) or (
            isinstance(node.func, ast.Name) and self._is_builtin(node.func)
        )

    def _is_functional(self, call: ast.Call) -> bool:
        return is_functional(self._code.callees.known(call))
