"""What is known of a scheduled function from its source: the tree, its call sites and loops, numbered.

The tree is the original one; the translation works on a copy. Numbers are given once, in source order, and
are the same in both, which is how the real run and foresight speak of the same call.

Attributes that nodes of the tree carry:
    .site  `ast.Call`: its number, if its function may turn out to be functional, or to be an inner function
           that holds sites. Calls without one are ordinary calls.
    .loop  `ast.For`, `ast.While` and `ast.comprehension`: its number, if it encloses a site.
    .inner `ast.FunctionDef` and `ast.Lambda` within: its number, if it holds a site or a loop with one.

What a loop encloses: a ``for`` its body; a ``while`` its test and body; a comprehension's clause its
conditions, the later clauses and the element. So the first clause's iterable, and every ``else``, is outside.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from .callees import Callees
from .source import parsed

__all__ = ["FUNCTIONS", "ScheduledCode", "enclosing_loops"]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class ScheduledCode:
    """The syntax of a scheduled function.

    Attributes:
        function: The original function, whose globals and cells the names are looked up in.
        tree: Its definition, as parsed from the source, with the file's line numbers.
        filename: The file that the line numbers are about.
        class_name: The class in whose body it was defined, or None; names such as ``__x`` depend on it.
        parents: Each node's parent; the definition has none.
        sites: Call sites by number.
        loops: Loops by number: ``for``, ``while`` or a clause of a comprehension.
        inner: Inner functions with sites, by number.
        pure: What ``schedule(pure=[…])`` named.
        foresight_program: What foresight makes of the tree, kept here for later calls; its own business.
    """

    def __init__(self, function: FunctionType, pure: tuple[Callable[..., Any], ...] = ()) -> None:
        """Parse a function and number what matters.

        Raises:
            OSError: Its source can't be had.
            TypeError: It is a lambda or a coroutine function.
            SyntaxError: It holds what can't be scheduled.
        """
        self.function = function
        self.pure = pure
        self.filename = function.__code__.co_filename
        self.tree, self.class_name = parsed(function)
        self.parents: dict[ast.AST, ast.AST] = {
            child: parent for parent in ast.walk(self.tree) for child in ast.iter_child_nodes(parent)
        }
        self.sites: dict[int, ast.Call] = {}
        self.loops: dict[int, ast.AST] = {}
        self.inner: dict[int, ast.AST] = {}
        self.foresight_program: Any = None
        self._definitions: dict[CodeType, ast.FunctionDef | ast.Lambda] = {}
        self.callees = Callees(self.tree, function)
        self._number()

    def definition_of(self, function: Any) -> ast.FunctionDef | ast.Lambda | None:
        """The definition of a translated inner function in the original tree; None for anything else."""
        return self._definitions.get(getattr(function, "__code__", None))  # type: ignore[arg-type]

    def define(self, code: CodeType, number: int) -> None:
        """Note that this code was made from an inner function."""
        node = self.inner[number]
        assert isinstance(node, ast.FunctionDef | ast.Lambda)
        self._definitions[code] = node

    def loops_of(self, site: int) -> tuple[int, ...]:
        """The numbers of the loops of the site's own function that enclose it, outermost first."""
        return tuple(loop.loop for loop in enclosing_loops(self.sites[site], self.parents))

    def function_of(self, node: ast.AST) -> ast.AST:
        """The innermost function that a node belongs to: the scheduled one, or one within it.

        Decorators, defaults and annotations belong to the function around.
        """
        below, parent = node, self.parents.get(node)
        while parent is not None:
            if isinstance(parent, FUNCTIONS) and _within(parent, below):
                return parent
            below, parent = parent, self.parents.get(parent)
        return self.tree

    def _number(self) -> None:
        nodes = [node for statement in self.tree.body for node in _below(statement)]
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        for call in calls:
            if self.callees.may_be_functional(call):
                self._add_site(call)
        # Calls of inner functions that hold sites are sites too, which may make more functions hold some.
        changed = True
        while changed:
            self._mark_inner()
            changed = False
            inner = {id(each) for each in self.inner.values()}
            for call in calls if inner else ():
                if not hasattr(call, "site") and self.callees.may_be_inner(call, inner):
                    self._add_site(call)
                    changed = True
        ordered = sorted(self.sites.values(), key=_position)
        self.sites = {}
        for number, call in enumerate(ordered):
            call.site = number  # type: ignore[attr-defined]
            self.sites[number] = call
        for call in ordered:
            for loop in enclosing_loops(call, self.parents):
                loop.loop = -1
        for node in nodes:
            if hasattr(node, "loop"):
                node.loop = len(self.loops)
                self.loops[node.loop] = node

    def _add_site(self, call: ast.Call) -> None:
        call.site = len(self.sites)  # type: ignore[attr-defined]
        self.sites[call.site] = call  # type: ignore[attr-defined]

    def _mark_inner(self) -> None:
        for call in self.sites.values():
            owner = self.function_of(call)
            while owner is not self.tree:
                if not hasattr(owner, "inner"):
                    owner.inner = len(self.inner)  # type: ignore[attr-defined]
                    self.inner[owner.inner] = owner  # type: ignore[attr-defined]
                owner = self.function_of(owner)


def enclosing_loops(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> list[Any]:
    """The loops of the node's own function that enclose it, outermost first.

    Args:
        node: A node of the tree.
        parents: `ScheduledCode.parents`.
    """
    found: list[Any] = []
    below, parent = node, parents.get(node)
    while parent is not None:
        if isinstance(parent, FUNCTIONS) and _within(parent, below):
            break
        if isinstance(parent, ast.For | ast.AsyncFor):
            if any(below is each for each in parent.body):
                found.append(parent)
        elif isinstance(parent, ast.While):
            if below is parent.test or any(below is each for each in parent.body):
                found.append(parent)
        elif isinstance(parent, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            found += reversed(_clauses_around(parent, below, node, parents))
        below, parent = parent, parents.get(parent)
    found.reverse()
    return found


def _clauses_around(
    comprehension: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
    below: ast.AST,
    node: ast.AST,
    parents: dict[ast.AST, ast.AST],
) -> list[ast.comprehension]:
    """The clauses that enclose a node, outermost first; it is in ``below``, a child of the comprehension."""
    if not isinstance(below, ast.comprehension):
        return list(comprehension.generators)
    place = next(n for n, clause in enumerate(comprehension.generators) if clause is below)
    while parents[node] is not below:
        node = parents[node]
    return comprehension.generators[: place + (any(node is each for each in below.ifs))]


def _within(function: ast.AST, child: ast.AST) -> bool:
    """Whether a child of a function's node is of its body, not evaluated where it is defined."""
    body = function.body  # type: ignore[attr-defined]
    return child is body or (isinstance(body, list) and any(child is each for each in body))


def _below(node: ast.AST) -> Iterator[Any]:
    """A node and all below it, in the order of the source, as far as the tree lists it so."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(list(ast.iter_child_nodes(node)))


def _position(node: ast.Call) -> tuple[int, int, int, int]:
    return node.lineno, node.col_offset, -(node.end_lineno or 0), -(node.end_col_offset or 0)
