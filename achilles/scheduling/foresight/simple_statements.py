"""Lowering of statements that hold no others."""

from __future__ import annotations

import ast
import sys
from types import ModuleType
from typing import Any

from .comprehensions import Comprehensions
from .emitting import Definitions
from .own_lists import appended

__all__ = ["SimpleStatements", "named"]


class SimpleStatements(Comprehensions):
    """Lowers assignments, imports, definitions and their like."""

    def statement_pass(self, node: ast.Pass) -> None:
        pass

    statement_global = statement_nonlocal = statement_pass

    def statement_expr(self, node: ast.Expr) -> None:
        name = appended(node)
        if name is not None and name.id in self.program.own_lists:
            kind, where = self.variable(name)
            if kind == "local":
                self.expression(node.value.args[0])  # type: ignore[attr-defined]
                self.emit("append", where, node)
                return
        if isinstance(node.value, ast.Constant):
            return
        self.expression(node.value)
        self.emit("pop", None, node)

    def statement_assign(self, node: ast.Assign) -> None:
        self.expression(node.value)
        for target in node.targets[:-1]:
            self.emit("copy", 1, node)
            self.push(None)
            self.store(target)
        self.store(node.targets[-1])

    def statement_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.expression(node.value)
            self.store(node.target)

    def statement_augassign(self, node: ast.AugAssign) -> None:
        target = node.target
        if not isinstance(target, ast.Name):
            self.expression(node.value)
            self.store(target)  # says that it is a sync-point
            return
        self.expression(ast.copy_location(_load(target, self.definitions), target))
        self.expression(node.value)
        kind, where = self.variable(target)
        if kind == "local" and where in self.program.own_lists and isinstance(node.op, ast.Add):
            self.emit("binary", "Add", node)
        else:
            self.note(
                node, f"augmented assignment to {target.id}, unless its type is immutable", certain=False
            )
            self.emit("augmented", type(node.op).__name__, node)
        self.pop()
        self.store(target)

    def statement_delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name) and self.variable(target)[0] == "local":
                self.emit("delete_local", self.variable(target)[1], target)
            else:
                self.stop(target, f"del {ast.unparse(target)} changes an object, or what others see")

    def statement_assert(self, node: ast.Assert) -> None:
        self.expression(node.test)
        self.emit("expect", None, node)

    def statement_import(self, node: ast.Import) -> None:
        for each in node.names:
            top = each.name.partition(".")[0]
            self._imported(node, each.name, each.name if each.asname else top, None, each.asname or top)

    def statement_importfrom(self, node: ast.ImportFrom) -> None:
        for each in node.names:
            self._imported(node, node.module or "", node.module or "", each.name, each.asname or each.name)

    def _imported(self, node: Any, module: str, bound: str, attribute: str | None, name: str) -> None:
        found = sys.modules.get(bound)
        if getattr(node, "level", 0) or module not in sys.modules or type(found) is not ModuleType:
            self.stop(node, "an import, which may run a module's code")
            return
        if attribute is not None and attribute not in vars(found):
            self.stop(node, "an import, which may run a module's code")
            return
        if self.scope.owner(name) is not self.scope:
            self.stop(node, f"an import that binds {name}, which others see")
            return
        self.emit("constant", found if attribute is None else vars(found)[attribute], node)
        self.emit("store_local", name, node)

    def statement_functiondef(self, node: ast.FunctionDef) -> None:
        if node.decorator_list:
            self.stop(node, "a decorator is called")
            self.lower_inner(node)
        else:
            self.function(node)
            if self.scope.owner(node.name) is self.scope:
                self.emit("store_local", node.name, node)
            else:
                self.stop(node, f"a definition of {node.name}, which others see")

    def statement_classdef(self, node: ast.ClassDef) -> None:
        self.stop(node, "a class definition")

    # -- what only the real run does

    def expression_yield(self, node: ast.Yield) -> None:
        if node.value is not None:
            self.expression(node.value)
            self.pop()
        self.stop(node, "yield gives control to the caller")
        self.emit("unknown", None, node)

    def expression_yieldfrom(self, node: ast.YieldFrom) -> None:
        self.expression(node.value)
        self.pop()
        self.stop(node, "yield from gives control to the caller")
        self.emit("unknown", None, node)


def _load(target: ast.Name, definitions: Definitions) -> ast.Name:
    """The same variable, read."""
    node = ast.Name(target.id, ast.Load())
    definitions.scopes.of[node] = definitions.scopes.of[target]
    return node


def named(name: str, node: ast.AST, definitions: Definitions) -> ast.Name:
    """The variable that a node binds without a `Name` of its own."""
    made = ast.copy_location(ast.Name(name, ast.Store()), node)
    definitions.scopes.of[made] = definitions.scopes.of[node]
    return made
