"""Call sites ask the activation what to call."""

from __future__ import annotations

import ast
from typing import Any, ClassVar

from .contract import Construct, Pass

__all__ = ["Calling"]


class Calling(Pass):
    """Let the activation choose the function, and the call be as it was: ::

    f(x, *y, z=1)   →   activation.call(n, f)(x, *y, z=1)

    A site whose result may be a handle (``.keeps``), or whose arguments may (``.passes``), says so: ::

                    →   activation.site(n, f, True)(activation.argument(n, x))

    What isn't functional is called from the user's own frame, so that ``super()``, ``locals()`` and
    tracebacks are as ever.
    """

    removes: ClassVar[frozenset[Construct]] = frozenset(["site", "keeps", "passes"])
    adds: ClassVar[frozenset[Construct]] = frozenset([ast.Attribute, ast.Constant])

    def visit_Call(self, node: ast.Call) -> ast.AST:  # noqa: N802 - the visitor's names
        self.generic_visit(node)
        marks: dict[str, Any] = node.__dict__
        number = marks.pop("site", None)
        keeps, passes = marks.pop("keeps", False), marks.pop("passes", False)
        if number is not None and (keeps or passes):
            node.func = self.call("site", number, node.func, keeps, at=node.func)
        elif number is not None:
            node.func = self.call("call", number, node.func, at=node.func)
        return node
