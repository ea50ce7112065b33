"""Which functional call needs what of which other one: a walk over the tree of a scheduled function.

Statements are visited in the order of execution, branches one after the other, loops until nothing new
comes of another round. A call needs a *value* of another when it is in an argument, through whatever
variables and containers. It needs a *decision* when the condition that lets it run at all is made of the
other's result: of an ``if`` or ``while`` around it, or of one before it after which it is open where the
program goes on. What comes up in a later round of a loop only is *carried* by that loop.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..code import ScheduledCode
from .expressions import DECISION, VALUE, Expressions
from .flows import NOTHING, Flows, joined

__all__ = ["DECISION", "VALUE", "Need", "needs_of"]

MOST_ROUNDS = 100  # of one loop, or of all; far more than variables can hand a value on to each other
_NONE: frozenset[int] = frozenset()
_LEAVING = (ast.Break, ast.Return, ast.Raise, ast.Assert)


class Need(NamedTuple):
    """That a call needs something of another.

    Attributes:
        of: The number of the other call's site.
        site: The number of the call's site.
        kind: `VALUE` or `DECISION`.
        carried_by: The loop from whose earlier round it comes, or None when it is of the same round.
    """

    of: int
    site: int
    kind: str
    carried_by: ast.AST | None


def needs_of(code: ScheduledCode, kinds: Mapping[int, str]) -> list[Need]:
    """All needs, in the order of the sites.

    Args:
        code: The function.
        kinds: For each site what its function is, see `calling`.
    """
    walk = _Walk(code, kinds)
    for _ in range(MOST_ROUNDS):
        walk.changed = False
        walk.visit(code.tree.body)
        if not walk.changed:
            break
    return sorted(walk.needs(), key=lambda need: (need.site, need.of, need.kind))


class _Walk(Expressions):
    def __init__(self, code: ScheduledCode, kinds: Mapping[int, str]) -> None:
        super().__init__(code, kinds)
        # How variables are where a loop or a round of it is left, for each loop that is being visited.
        self._breaks: list[list[Flows]] = []
        self._continues: list[list[Flows]] = []

    def visit(self, body: list[ast.stmt]) -> None:
        """Visit the whole function once."""
        self._flows = Flows()
        self._around = self._left = self._skipped = _NONE
        self._block(body)

    def needs(self) -> Iterator[Need]:
        for of, site, kind in self.direct:
            yield Need(of, site, kind, None)
        for (of, site, kind), loop in self.carried.items():
            if (of, site, kind) not in self.direct:
                yield Need(of, site, kind, loop)

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            visit: Callable[[Any], None] | None = getattr(
                self, f"_visit_{type(statement).__name__.lower()}", None
            )
            if visit is not None:
                visit(statement)
            else:
                self._below(statement)

    # -- simple statements

    def _visit_assign(self, node: ast.Assign) -> None:
        flow = self.flow(node.value)
        for target in node.targets:
            self.assign(target, flow, node.value)

    def _visit_annassign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.flow(node.value), node.value)

    def _visit_augassign(self, node: ast.AugAssign) -> None:
        self.assign(node.target, joined((self.flow(node.target), self.flow(node.value))))

    def _visit_return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._add(self._returns, self._function, self.flow(node.value))

    def _visit_assert(self, node: ast.Assert) -> None:
        self._left |= self.flow(node.test).every
        if node.msg is not None:
            self.flow(node.msg)

    def _visit_break(self, node: ast.Break) -> None:
        self._breaks[-1].append(self._flows.copy())

    def _visit_continue(self, node: ast.Continue) -> None:
        self._continues[-1].append(self._flows.copy())

    # -- branches

    def _visit_if(self, node: ast.If) -> None:
        self._branches(self.flow(node.test).every, [node.body, node.orelse])

    def _visit_match(self, node: ast.Match) -> None:
        subject = self.flow(node.subject).solid
        decides, branches = subject.whole, []
        for case in node.cases:
            for part in ast.walk(case.pattern):
                for name in (getattr(part, "name", None), getattr(part, "rest", None)):
                    if isinstance(name, str):
                        self.set((self._scopes.of[node], name), subject)
            if case.guard is not None:
                decides |= self.flow(case.guard).every
            branches.append(case.body)
        self._branches(decides, [*branches, []])

    def _branches(self, decides: frozenset[int], branches: list[list[ast.stmt]]) -> None:
        before, after = self._flows, None
        around, self._around = self._around, self._around | decides
        for branch in branches:
            self._flows = before.copy()
            self._block(branch)
            if after is None:
                after = self._flows
            else:
                after.join(self._flows)
        self._around = around
        assert after is not None
        self._flows = after
        statements = [statement for branch in branches for statement in branch]
        if any(_may(statement, _LEAVING) for statement in statements):
            self._left |= decides
        if any(_may(statement, ast.Continue) for statement in statements):
            self._skipped |= decides

    def _visit_try(self, node: ast.Try) -> None:
        anywhere = self._flows.copy()
        for statement in node.body:
            self._block([statement])
            anywhere.join(self._flows)
        self._block(node.orelse)
        after = self._flows
        for handler in node.handlers:
            self._flows = anywhere.copy()
            if handler.type is not None:
                self.flow(handler.type)
            self._block(handler.body)
            after.join(self._flows)
        after.join(anywhere)
        self._flows = after
        self._block(node.finalbody)

    _visit_trystar = _visit_try

    def _visit_with(self, node: ast.With) -> None:
        for item in node.items:
            flow = self.flow(item.context_expr).solid
            if item.optional_vars is not None:
                self.assign(item.optional_vars, flow)
        self._block(node.body)

    # -- loops

    def _visit_for(self, node: ast.For) -> None:
        several = self.flow(node.iter)

        def begin() -> frozenset[int]:
            self.assign(node.target, several.solid)
            return several.whole

        self._loop(node, begin)

    def _visit_while(self, node: ast.While) -> None:
        self._loop(node, lambda: self.flow(node.test).every)

    def _loop(self, node: ast.For | ast.While, begin: Callable[[], frozenset[int]]) -> None:
        """Visit the rounds of a loop; ``begin`` begins one, and tells what decides on it."""
        around, skipped = self._around, self._skipped
        self._breaks.append([])
        for number in range(MOST_ROUNDS):
            if number == 1:
                self._repeated.append(node)
            head, left = self._flows.copy(), self._left
            self._skipped = skipped  # only for the rest of the round
            decides = begin()
            self._around |= decides
            self._left |= decides
            self._continues.append([])
            self._block(node.body)
            for each in self._continues.pop():
                self._flows.join(each)
            changed = head.join(self._flows) or self._left != left
            self._flows = head
            if number and not changed:
                break
        self._repeated.pop()
        self._around, self._skipped = around, skipped
        self._block(node.orelse)
        for each in self._breaks.pop():
            self._flows.join(each)

    # -- definitions

    def _visit_functiondef(self, node: ast.FunctionDef) -> None:
        for outside in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if outside is not None:
                self.flow(outside)
        self.set((self._scopes.of[node], node.name), NOTHING)
        self.visit_inner(node)

    def _visit_classdef(self, node: ast.ClassDef) -> None:
        for outside in (*node.decorator_list, *node.bases, *(word.value for word in node.keywords)):
            self.flow(outside)
        self._block(node.body)

    def visit_inner(self, node: ast.FunctionDef | ast.Lambda) -> None:
        """Visit the body of an inner function where it is defined, with what all its calls give it."""
        saved = self._function, self._flows, self._around, self._left, self._skipped
        self._function, self._flows = node, Flows()
        self._left = self._skipped = _NONE
        self._around = self._callers.get(node, _NONE)
        if isinstance(node, ast.Lambda):
            self.flow(node.body)
        else:
            self._block(node.body)
        self._function, self._flows, self._around, self._left, self._skipped = saved


def _may(node: ast.AST, jump: type[ast.AST] | tuple[type[ast.AST], ...]) -> bool:
    """Whether a statement is such a jump or holds one, but for functions and classes in it."""
    if isinstance(node, jump):
        return True
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return False
    return any(_may(child, jump) for child in ast.iter_child_nodes(node))
