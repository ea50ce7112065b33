"""Which variables hold lists that nothing but the function can see: appending has no effect elsewhere.

Such a list is made in the function, by a display, a comprehension, ``list(…)``, ``sorted(…)``, ``+`` or
``[…] * n``; and no use of the variable lets anything else get hold of it: it is appended to, indexed,
iterated over (not in a loop that appends to it), tested, measured by listed built-ins, added to another list,
given to functional calls (which get a copy), or returned.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from ..scopes import Scope

__all__ = ["OwnLists", "appended"]

# Built-ins that neither give the list back nor keep it.
_MEASURES = frozenset("all any bool dict frozenset len list repr set sorted str sum tuple".split())
_MAKERS = frozenset({"list", "sorted"})
_ITERATORS = frozenset({"enumerate", "reversed", "zip"})


def appended(node: ast.AST) -> ast.Name | None:
    """The variable of a statement ``variable.append(value)``; None for any other."""
    if (
        isinstance(node, ast.Expr)
        and isinstance(call := node.value, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "append"
        and isinstance(call.func.value, ast.Name)
        and len(call.args) == 1
        and not call.keywords
        and not isinstance(call.args[0], ast.Starred)
    ):
        return call.func.value
    return None


class OwnLists:
    """Judges the variables of one function.

    Args:
        parents: Each node's parent.
        is_builtin: Whether a name, where a node uses it, means the built-in of that name.
        is_functional: Whether a call is of a function that is known to be functional.
    """

    def __init__(
        self,
        parents: dict[ast.AST, ast.AST],
        is_builtin: Callable[[ast.Name], bool],
        is_functional: Callable[[ast.Call], bool],
    ) -> None:
        self._parents = parents
        self._is_builtin = is_builtin
        self._is_functional = is_functional

    def find(
        self, scope: Scope, uses: dict[str, list[ast.Name]], shared: Callable[[str], bool]
    ) -> frozenset[str]:
        """The names of a scope's variables that hold lists of the function's own.

        Args:
            scope: The function's scope.
            uses: All nodes that name a variable of the scope, by name.
            shared: Whether a variable is seen by inner functions, or declared global or nonlocal.
        """
        found = set()
        for name, bindings in scope.bindings.items():
            candidates = [self._binds_list(each, name) for each in bindings]
            if candidates and all(candidates) and not shared(name):
                if all(self._keeps(each, name) for each in uses.get(name, [])):
                    found.add(name)
        return frozenset(found)

    def _binds_list(self, node: ast.AST, name: str) -> bool:
        parent = self._parents.get(node)
        if isinstance(parent, ast.Assign) and len(parent.targets) == 1 and parent.targets[0] is node:
            return self._makes_list(parent.value, name)
        if isinstance(parent, ast.Tuple):  # first, second = [], 0
            statement = self._parents.get(parent)
            if not (
                isinstance(statement, ast.Assign)
                and statement.targets == [parent]
                and isinstance(statement.value, ast.Tuple)
                and len(statement.value.elts) == len(parent.elts)
                and not any(isinstance(each, ast.Starred) for each in (*statement.value.elts, *parent.elts))
            ):
                return False
            place = next(n for n, each in enumerate(parent.elts) if each is node)
            return self._makes_list(statement.value.elts[place], name)
        if isinstance(parent, ast.AnnAssign) and parent.target is node:
            return parent.value is not None and self._makes_list(parent.value, name)
        return isinstance(parent, ast.AugAssign) and isinstance(parent.op, ast.Add)

    def _makes_list(self, node: ast.expr, name: str) -> bool:
        if isinstance(node, ast.List | ast.ListComp):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id in _MAKERS and self._is_builtin(node.func)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = (node.left, node.right)
            return all(
                (isinstance(side, ast.Name) and side.id == name) or self._makes_list(side, name)
                for side in sides
            )
        # [None] * n, whatever n is: nobody else has got what that gives.
        return (
            isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.List)
        )

    def _keeps(self, node: ast.Name, name: str) -> bool:
        """Whether a use of the variable lets nobody else get hold of the list."""
        if not isinstance(node.ctx, ast.Load):
            return isinstance(node.ctx, ast.Store)
        parent = self._parents[node]
        above = self._parents.get(parent)
        if isinstance(parent, ast.Attribute):
            statement = self._parents.get(above) if above is not None else None
            return statement is not None and appended(statement) is node
        if isinstance(parent, ast.Subscript):
            return parent.value is node and isinstance(parent.ctx, ast.Load)
        if isinstance(parent, ast.BinOp):
            return isinstance(parent.op, ast.Add) and self._makes_list(parent, name)
        shown: ast.AST | None = parent
        while isinstance(shown, ast.Tuple | ast.List | ast.Dict):
            shown = self._parents.get(shown)
        if isinstance(shown, ast.Return):
            return True
        if isinstance(
            parent, ast.Compare
        ):  # its elements are compared, not the list, which == would show around
            return parent.left is not node and all(isinstance(op, ast.In | ast.NotIn) for op in parent.ops)
        if isinstance(parent, ast.If | ast.While | ast.IfExp):
            return parent.test is node
        if isinstance(parent, ast.UnaryOp):
            return isinstance(parent.op, ast.Not)
        if isinstance(parent, ast.Starred):
            parent, above = above, None  # type: ignore[assignment]
            return isinstance(parent, ast.Call | ast.List | ast.Tuple)
        if isinstance(parent, ast.For | ast.comprehension):
            return parent.iter is node and not self._appends(parent, name)
        if isinstance(parent, ast.Call) and parent.func is not node:
            return self._is_kept_by(parent, name)
        return isinstance(parent, ast.keyword) and isinstance(above, ast.Call) and self._is_functional(above)

    def _is_kept_by(self, call: ast.Call, name: str) -> bool:
        if self._is_functional(call):
            return True
        if not isinstance(call.func, ast.Name) or not self._is_builtin(call.func):
            return False
        if call.func.id in _MEASURES:
            return True
        loop = self._parents.get(call)
        return (
            call.func.id in _ITERATORS
            and isinstance(loop, ast.For | ast.comprehension)
            and loop.iter is call
            and not self._appends(loop, name)
        )

    @staticmethod
    def _appends(loop: ast.AST, name: str) -> bool:
        if not isinstance(loop, ast.For):
            return False  # a comprehension holds no statements
        for node in ast.walk(loop):
            if (found := appended(node)) is not None and found.id == name:
                return True
            if (
                isinstance(node, ast.AugAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id == name
            ):
                return True
        return False
