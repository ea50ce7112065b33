"""Functions begin an activation and end it."""

from __future__ import annotations

import ast
from typing import Any, ClassVar

from .contract import Construct, Pass, activation_of

__all__ = ["RUN", "Entering", "marker"]

#: The free variable that holds what belongs to the scheduled function as a whole.
RUN = ".run"


def marker(number: int) -> str:
    """A constant that tells the code of an inner function from all others."""
    return f".inner {number}"


class Entering(Pass):
    """Surround bodies: ::

    def f(x):            →   def f(x):
        body                     activation = run.enter(n)
                                 try:
                                     body
                                 finally:
                                     activation.close()

    Inner functions get theirs from the activation around: ``activation.inner("…")``. So do lambdas, in an
    expression, and without an end.
    """

    forbids: ClassVar[frozenset[Construct]] = frozenset(["site", "loop", "raw", "keeps", "passes"])
    removes: ClassVar[frozenset[Construct]] = frozenset(["inner"])
    adds: ClassVar[frozenset[Construct]] = frozenset(
        [
            ast.Assign, ast.Attribute, ast.Call, ast.Constant, ast.Expr, ast.Load, ast.Name, ast.NamedExpr,
            ast.Pass, ast.Store, ast.Subscript, ast.Try, ast.Tuple,
        ]
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        """Make the pass.

        Args:
            number: What the function says when it enters.
        """
        self._number = number

    def translate(self, tree: ast.FunctionDef) -> None:
        tree.body = self.block(tree.body)
        first = tree.body[0]
        run = ast.copy_location(ast.Name(RUN, ast.Load()), first)
        number = ast.copy_location(ast.Constant(self._number), first)
        enter = ast.copy_location(ast.Attribute(run, "enter", ast.Load()), first)
        tree.body = self._surrounded(tree.body, ast.copy_location(ast.Call(enter, [number], []), first))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802 - the visitor's names
        super().visit_FunctionDef(node)
        if hasattr(node, "inner"):
            begin = self.call("inner", marker(node.inner), at=node.body[0])
            around, self.activation = self.activation, activation_of(node)
            node.body = self._surrounded(node.body, begin)
            self.activation = around
            del node.inner
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:  # noqa: N802
        super().visit_Lambda(node)
        marks: dict[str, Any] = node.__dict__
        if "inner" in marks:
            body = node.body
            begin = self.call("inner", marker(marks["inner"]), at=body)
            target = ast.copy_location(ast.Name(activation_of(node), ast.Store()), body)
            noted = ast.copy_location(ast.NamedExpr(target, begin), body)
            both = ast.copy_location(ast.Tuple([noted, body], ast.Load()), body)
            second = ast.copy_location(ast.Constant(1), body)
            node.body = ast.copy_location(ast.Subscript(both, second, ast.Load()), body)
            del marks["inner"]
        return node

    def _surrounded(self, body: list[ast.stmt], begin: ast.expr) -> list[ast.stmt]:
        first = body[0]
        target = ast.copy_location(ast.Name(self.activation, ast.Store()), begin)
        enter = ast.copy_location(ast.Assign([target], begin), begin)
        leave = self.statement("close", at=first)
        documented = body[:1] if _is_text(first) else []
        rest = body[len(documented) :] or [ast.copy_location(ast.Pass(), first)]
        return [*documented, enter, ast.copy_location(ast.Try(rest, [], [], [leave]), first)]


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
