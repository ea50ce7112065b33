"""What a translation pass promises, and the check that it keeps it.

A pass says which constructs it can't work on (``forbids``), which it needs (``requires``), which are gone
when it is done (``removes``), and which may be new then (``adds``). A construct is a type of syntax nodes, or
a mark: the name of an attribute that nodes carry, such as ``"site"``. The check runs at every translation, so
that two passes in the wrong order are an error and not a wrong answer.
"""

from __future__ import annotations

import ast
from typing import ClassVar

__all__ = ["MARKS", "Construct", "ContractError", "Pass"]

Construct = type[ast.AST] | str

#: Attributes of nodes that passes look for.
MARKS = ("site", "loop", "inner", "raw", "keeps", "passes")
_MARKS = frozenset(MARKS)


class ContractError(RuntimeError):
    """A translation pass didn't keep its contract. A mistake in achilles, never in the function."""


class Pass(ast.NodeTransformer):
    """A step of the translation, which changes a tree in place.

    Each function that holds sites has an activation, in a variable that no program can name. Subclasses find
    the name of the one that is to be used where they are in ``self.activation``; they don't see the bodies of
    functions without one.
    """

    forbids: ClassVar[frozenset[Construct]] = frozenset()
    requires: ClassVar[frozenset[Construct]] = frozenset()
    removes: ClassVar[frozenset[Construct]] = frozenset()
    adds: ClassVar[frozenset[Construct]] = frozenset()

    activation = ".a"

    def run(self, tree: ast.FunctionDef) -> None:
        """Translate the scheduled function's definition.

        Raises:
            ContractError: The tree isn't what the pass needs, or isn't what it promises.
        """
        self.run_on(tree, constructs(tree))

    def run_on(self, tree: ast.FunctionDef, before: frozenset[Construct]) -> frozenset[Construct]:
        """The same, when it is known what the tree holds; returns what it holds then."""
        self._check("can't work on", self.forbids & before)
        self._check("needs", self.requires - before)
        self.translate(tree)
        after = constructs(tree)
        self._check("left", self.removes & after)
        self._check("added", after - before - self.adds)
        return after

    def translate(self, tree: ast.FunctionDef) -> None:
        """Change the tree."""
        tree.body = self.block(tree.body)

    def block(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        """Visit the statements of a block."""
        done: list[ast.stmt] = []
        for statement in statements:
            result = self.visit(statement)
            if isinstance(result, list):
                done += result
            elif result is not None:
                done.append(result)
        return done

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args = self.visit(node.args)
        if node.returns is not None:
            node.returns = self.visit(node.returns)
        if hasattr(node, "inner"):
            around, self.activation = self.activation, activation_of(node)
            node.body = self.block(node.body)
            self.activation = around
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = self.visit(node.args)
        if hasattr(node, "inner"):
            around, self.activation = self.activation, activation_of(node)
            node.body = self.visit(node.body)
            self.activation = around
        return node

    def call(self, method: str, *args: ast.expr | int | str, at: ast.AST) -> ast.Call:
        """A call of a method of the activation, with the place in the source that a node has."""
        owner = ast.Attribute(ast.Name(self.activation, ast.Load()), method, ast.Load())
        made = ast.Call(
            owner, [each if isinstance(each, ast.expr) else ast.Constant(each) for each in args], []
        )
        for node in (made, owner, owner.value, *made.args):
            if not hasattr(node, "lineno"):
                ast.copy_location(node, at)
        return made

    def statement(self, method: str, *args: ast.expr | int | str, at: ast.AST) -> ast.Expr:
        """The same as a statement."""
        return ast.copy_location(ast.Expr(self.call(method, *args, at=at)), at)

    def _check(self, what: str, wrong: frozenset[Construct]) -> None:
        if wrong:
            names = sorted(each if isinstance(each, str) else each.__name__ for each in wrong)
            raise ContractError(f"the pass {type(self).__name__} {what} {', '.join(names)}")


def activation_of(node: ast.AST) -> str:
    """The variable that holds the activation of an inner function."""
    return f".a{node.inner}"  # type: ignore[attr-defined]


def constructs(tree: ast.AST) -> frozenset[Construct]:
    """The types of a tree's nodes, and the marks that they carry."""
    found: set[Construct] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:  # as ast.walk, in a fifth of its time
        node = waiting.pop()
        found.add(type(node))
        fields = node.__dict__
        if len(fields) > len(node._fields) and not _MARKS.isdisjoint(fields):
            found.update(_MARKS.intersection(fields))
        for value in fields.values():
            if type(value) is list:
                waiting += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                waiting.append(value)
    return frozenset(found)
