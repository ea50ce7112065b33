"""Where the run may leave the way that foresight took: handlers of exceptions, and yields."""

from __future__ import annotations

import ast
from typing import Any, ClassVar

from .contract import Construct, Pass

__all__ = ["Leaving"]


class Leaving(Pass):
    """Tell the activation: ::

    except E:            →   except E:
        body                     activation.caught()
                                 body

    finally:             →   finally:
        body                     activation.unwinding()
                                 body

    yield x              →   activation.resumed((yield x))
    """

    adds: ClassVar[frozenset[Construct]] = frozenset([ast.Attribute, ast.Call, ast.Expr, ast.Load, ast.Name])

    def visit_Try(self, node: Any) -> Any:  # noqa: N802 - the visitor's names
        self.generic_visit(node)
        for handler in node.handlers:
            handler.body.insert(0, self.statement("caught", at=handler))
        if node.finalbody:
            node.finalbody.insert(0, self.statement("unwinding", at=node.finalbody[0]))
        return node

    visit_TryStar = visit_Try  # noqa: N815

    def visit_Yield(self, node: ast.Yield | ast.YieldFrom) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self.call("resumed", node, at=node)

    visit_YieldFrom = visit_Yield  # noqa: N815
