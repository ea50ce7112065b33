"""Loops around call sites tell the activation which iterator they use, and count their iterations."""

from __future__ import annotations

import ast
from typing import Any, ClassVar

from .contract import Construct, Pass

__all__ = ["Looping"]


class Looping(Pass):
    """Count, in a way that adds no frame: ::

    for x in y:          →   for x in activation.loop(n, y):
        body                     activation.again(n)
                                 body

    while test:          →   activation.anew(n)
        body                 while activation.again(n) and test:
                                 body

    [e for x in y if c]  →   [e for x in activation.loop(n, y) if activation.again(n) if c]
    """

    forbids: ClassVar[frozenset[Construct]] = frozenset(["raw"])
    removes: ClassVar[frozenset[Construct]] = frozenset(["loop"])
    adds: ClassVar[frozenset[Construct]] = frozenset(
        [ast.Attribute, ast.BoolOp, ast.And, ast.Call, ast.Constant, ast.Expr, ast.Load, ast.Name]
    )

    def visit_For(self, node: ast.For) -> ast.AST:  # noqa: N802 - the visitor's names
        self.generic_visit(node)
        number = _taken(node)
        if number is not None:
            node.iter = self.call("loop", number, node.iter, at=node.iter)
            node.body.insert(0, self.statement("again", number, at=node.target))
        return node

    def visit_While(self, node: ast.While) -> Any:  # noqa: N802
        self.generic_visit(node)
        number = _taken(node)
        if number is None:
            return node
        again = self.call("again", number, at=node.test)
        node.test = ast.copy_location(ast.BoolOp(ast.And(), [again, node.test]), node.test)
        return [self.statement("anew", number, at=node.test), node]

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        number = _taken(node)
        if number is not None:
            node.iter = self.call("loop", number, node.iter, at=node.iter)
            node.ifs.insert(0, self.call("again", number, at=node.target))
        return node


def _taken(node: Any) -> int | None:
    number: int | None = node.__dict__.pop("loop", None)
    return number
