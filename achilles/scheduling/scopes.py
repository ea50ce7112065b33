"""Who owns which name: the scopes of a function definition and of everything defined within it."""

from __future__ import annotations

import ast
from typing import Any

__all__ = ["Scope", "Scopes"]

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scope:
    """Names that are bound in one function, class body or comprehension.

    Attributes:
        node: What makes the scope.
        parent: The scope around; None for the scheduled function.
        bindings: By name, the nodes that bind it here.
        declared_global: Names in ``global`` statements.
        declared_nonlocal: Names in ``nonlocal`` statements.
    """

    def __init__(self, node: ast.AST, parent: Scope | None) -> None:
        self.node = node
        self.parent = parent
        self.bindings: dict[str, list[ast.AST]] = {}
        self.declared_global: set[str] = set()
        self.declared_nonlocal: set[str] = set()

    @property
    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_inline(self) -> bool:
        """Whether it is a comprehension that is over when the expression is."""
        return isinstance(self.node, ast.ListComp | ast.SetComp | ast.DictComp)

    def bind(self, name: str, node: ast.AST) -> None:
        self.bindings.setdefault(name, []).append(node)

    def owner(self, name: str) -> Scope | None:
        """The scope whose variable a name means here; None: a global, or a cell of the function's closure."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.declared_global:
                return None
            visible = scope is self or not scope.is_class
            if visible and name in scope.bindings and name not in scope.declared_nonlocal:
                return scope
            scope = scope.parent
        return None


class Scopes(ast.NodeVisitor):
    """The scopes of a definition.

    Attributes:
        top: The scope of the definition's own body.
        all: The scopes, outer ones first.
        of: By node, the scope that it is evaluated in.
        uses: By name and owner (None for globals and cells of the closure): scopes that name it.
    """

    def __init__(self, tree: ast.FunctionDef) -> None:
        self.top = Scope(tree, None)
        self.all = [self.top]
        self.of: dict[ast.AST, Scope] = {}
        self._scope = self.top
        self._named: list[tuple[str, Scope]] = []
        self._parameters(tree.args)
        for statement in tree.body:
            self.visit(statement)

    def captured(self, name: str, owner: Scope) -> bool:
        """Whether an inner function, generator expression or class body names a variable of a scope."""
        for used, place in self._named:
            scope = place
            if used == name and scope.owner(name) is owner:
                while scope is not owner:
                    if not scope.is_inline:
                        return True
                    assert scope.parent is not None
                    scope = scope.parent
        return False

    def shared(self, name: str) -> bool:
        """Whether any scope declares a name ``global`` or ``nonlocal``."""
        scopes = {id(scope): scope for _, scope in self._named}.values()
        return any(name in scope.declared_global or name in scope.declared_nonlocal for scope in scopes)

    # -- visiting

    def visit(self, node: ast.AST) -> Any:
        self.of[node] = self._scope
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._named.append((node.id, self._scope))
        if not isinstance(node.ctx, ast.Load):
            self._scope.bind(node.id, node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        target, scope = node.target, self._scope
        while isinstance(scope.node, _COMPREHENSIONS) and scope.parent is not None:
            scope = scope.parent  # a walrus binds around all comprehensions
        self.of[target] = scope
        scope.bind(target.id, target)
        self._named += [(target.id, scope), (target.id, self._scope)]

    def visit_Global(self, node: ast.Global) -> None:
        self._scope.declared_global.update(node.names)
        self._named += [(name, self._scope) for name in node.names]

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self._scope.declared_nonlocal.update(node.names)
        self._named += [(name, self._scope) for name in node.names]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._bind(node.name, node)
        for outside in (*node.decorator_list, *_defaults(node.args), *_annotations(node)):
            self.visit(outside)
        self._enter(node, lambda: self._function(node.args, node.body))

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for outside in _defaults(node.args):
            self.visit(outside)
        self._enter(node, lambda: self._function(node.args, [node.body]))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, node)
        for outside in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(outside)
        self._enter(node, lambda: [self.visit(statement) for statement in node.body])

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name in node.names:
            self._bind(name.asname or name.name.partition(".")[0], node)

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, node)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name, node)
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs  # noqa: N815

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._bind(node.rest, node)
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, _COMPREHENSIONS):
            self.visit(node.generators[0].iter)
            self._enter(node, lambda: self._comprehension(node))
        else:
            super().generic_visit(node)

    def _comprehension(self, node: Any) -> None:
        for number, clause in enumerate(node.generators):
            self.of[clause] = self._scope
            self.visit(clause.target)
            for part in (*([clause.iter] if number else []), *clause.ifs):
                self.visit(part)
        for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
            self.visit(part)

    def _function(self, args: ast.arguments, body: list[Any]) -> None:
        self._parameters(args)
        for part in body:
            self.visit(part)

    def _parameters(self, args: ast.arguments) -> None:
        for each in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if each is not None:
                self._bind(each.arg, each)

    def _bind(self, name: str, node: ast.AST) -> None:
        self._scope.bind(name, node)
        self._named.append((name, self._scope))

    def _enter(self, node: ast.AST, visit: Any) -> None:
        around = self._scope
        self._scope = Scope(node, around)
        self.all.append(self._scope)
        try:
            visit()
        finally:
            self._scope = around


def _defaults(args: ast.arguments) -> list[ast.expr]:
    return [each for each in (*args.defaults, *args.kw_defaults) if each is not None]


def _annotations(node: ast.FunctionDef) -> list[ast.expr]:
    args = node.args
    every = (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg)
    found = [each.annotation for each in every if each is not None and each.annotation is not None]
    return found + ([node.returns] if node.returns is not None else [])
