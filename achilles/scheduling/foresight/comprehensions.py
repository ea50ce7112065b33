"""Lowering of comprehensions, and of generator expressions whose items are taken at once."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from .emitting import COMPREHENSIONS
from .expressions import Expressions
from .program import Branch, Generated, Loop

__all__ = ["Comprehensions"]


class Comprehensions(Expressions):
    """Lowers comprehensions as the loops that they are."""

    def expression_listcomp(self, node: ast.ListComp) -> None:
        self.comprehension(node, "list", [node.elt])

    def expression_setcomp(self, node: ast.SetComp) -> None:
        self.comprehension(node, "set", [node.elt])

    def expression_dictcomp(self, node: ast.DictComp) -> None:
        self.comprehension(node, "dict", [node.key, node.value])

    def expression_generatorexp(self, node: ast.GeneratorExp) -> None:
        # Whoever takes its items decides when it runs; what takes all at once is lowered elsewhere.
        self.note(node, "a generator expression that isn't consumed at once", certain=False)
        self.emit("unknown", None, node)

    def comprehension(self, node: Any, kind: str, parts: list[ast.expr]) -> None:
        """A comprehension, or a generator expression of which a built-in takes all items at once.

        Args:
            node: It.
            kind: "list", "set", "dict"; "any" and "all" leave at the first item that decides.
            parts: The element, or key and value.
        """
        self.expression(node.generators[0].iter)
        result = self.fresh("result")
        self.emit("make_list", 0, node)
        self.emit("store_local", result, node)
        begun: list[int] = []
        exits: list[int] = []
        self._comprehensions.append(self._names(node))
        self._unfinished.append((result, begun))
        self._clauses(node, 0, lambda: self._element(node, kind, parts, result, exits), begun)
        self._unfinished.pop()
        self._comprehensions.pop()
        if kind in ("any", "all"):
            self.emit("constant", kind == "all", node)
            over = self.jump(node)
            self.land(*exits)
            self.emit("constant", kind == "any", node)
            self.land(over)
        else:
            self.emit("load_local", result, node)
            self.emit("finish", kind, node)

    def for_over_generator(self, node: ast.For, body: Callable[[Loop], None]) -> None:
        """A loop over a generator expression, which makes each item when the loop asks for it.

        So the loop's body stands where a comprehension would keep the element.

        Args:
            node: The loop.
            body: Lowers the target, for which the item is on the stack, and the body of the loop.
        """
        generator = node.iter
        assert isinstance(generator, ast.GeneratorExp)
        loop = self.loop(node)
        self.emit("begin_loop", loop, node)
        self.expression(generator.generators[0].iter)
        begun: list[int] = []
        simple = len(generator.generators) == 1 and not generator.generators[0].ifs
        names = self._names(generator)

        def element() -> None:
            self.expression(generator.elt)
            clauses = list(begun)
            self._comprehensions.pop()
            for number in clauses:
                self._loops.remove(number)
            self.enter_loop(loop)
            self.emit("next_turn", loop, node)
            body(loop)
            self.leave_loop(loop)
            self._loops += clauses
            self._comprehensions.append(names)

        self._comprehensions.append(names)
        self._generated.append(Generated(loop.number, begun, simple))
        self._clauses(generator, 0, element, begun)
        self._generated.pop()
        self._comprehensions.pop()
        loop.exit = self.here

    def start_loop(self, loop: Loop, node: ast.AST) -> int:
        """Begin to iterate over what is on the stack, and push the next item; returns the loop's top."""
        self.emit("iterate", loop, node)
        self.pop()
        self.enter_loop(loop)
        top = self.emit("next_item", loop, node)
        self.push(None)
        return top

    def _names(self, node: Any) -> dict[str, str]:
        assert isinstance(node, COMPREHENSIONS)
        scope = self.definitions.scopes.of[node.generators[0].target]
        return {name: self.mangled(scope, name) for name in scope.bindings}

    def _clauses(self, node: Any, number: int, element: Callable[[], None], begun: list[int]) -> None:
        """The clauses from a number on, as loops around what ``element`` emits.

        Args:
            node: The comprehension.
            number: Of the clause, whose iterable is on the stack if it is the first.
            element: Emits what is done for each item.
            begun: Where the numbers of loops are kept while they are under way.
        """
        clause = node.generators[number]
        if number:
            self.expression(clause.iter)
        loop = self.loop(clause)
        top = self.start_loop(loop, clause.target)
        if loop.number >= 0:
            begun.append(loop.number)
        self.store(clause.target)
        branches = []
        for test in clause.ifs:
            self.expression(test)
            branches.append(self.branch(test, Branch()))
        if number + 1 < len(node.generators):
            self._clauses(node, number + 1, element, begun)
        else:
            element()
        for branch in branches:
            branch.target = branch.join = self.here
        self.emit("jump", top, node)
        self.leave_loop(loop)
        if loop.number >= 0:
            begun.remove(loop.number)
        loop.exit = self.here

    def _element(self, node: Any, kind: str, parts: list[ast.expr], result: str, exits: list[int]) -> None:
        self.expressions(parts)
        if kind in ("any", "all"):
            decided = Branch(when=kind == "all")
            self.emit("leave_unless", decided, node)  # jumps where the item doesn't decide
            self.pop()
            exits.append(self.jump(node))
            decided.target = decided.join = self.here
            return
        if kind == "dict":
            self.emit("make_pair", None, node)
            self.pop()
        self.emit("append", result, node)
        self.pop()
