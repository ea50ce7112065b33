"""Lowering of statements that hold others, of jumps, and of whole functions."""

from __future__ import annotations

import ast
from typing import Any

from .emitting import Definitions
from .matching import as_test
from .program import Branch, Loop, Program
from .simple_statements import SimpleStatements, named

__all__ = ["lower"]


def lower(definitions: Definitions, node: ast.FunctionDef | ast.Lambda) -> Program:
    """The program of a function; those of functions within it are added to the definitions."""
    known = definitions.programs.get(node)
    if known is None:
        statements = Statements(definitions, node)
        statements.whole()
        # Only when it is complete: another thread may be walking the same function.
        known = definitions.programs.setdefault(node, statements.program)
    return known


class _Target:
    """Where ``break`` and ``continue`` lead."""

    def __init__(self) -> None:
        self.breaks: list[int] = []
        self.continues: list[int] = []


class Statements(SimpleStatements):
    """Lowers statements."""

    def __init__(self, definitions: Definitions, node: ast.FunctionDef | ast.Lambda) -> None:
        super().__init__(definitions, node)
        self._around: list[_Target | None] = []  # None: a try statement with a finally clause
        self._ends_turn = False

    def whole(self) -> None:
        node = self.program.node
        self.program.is_generator = _yields(node)
        if isinstance(node, ast.Lambda):
            self.expression(node.body)
            self.emit("return", None, node)
            return
        self.block(node.body)
        self.emit("constant", None, node)
        self.emit("return", None, node)

    def lower_inner(self, node: ast.FunctionDef | ast.Lambda) -> None:
        lower(self.definitions, node)

    def block(self, statements: list[ast.stmt], *, ends_turn: bool = False) -> None:
        """Statements in a row.

        Args:
            statements: They.
            ends_turn: Whether the turn of the loop around is over behind them.
        """
        for place, each in enumerate(statements):
            rest = statements[place + 1 :]
            self._ends_turn = ends_turn and not rest
            if ends_turn and rest and isinstance(each, ast.If) and (merged := _without_continue(each, rest)):
                # What comes after a conditional continue is the other branch of the condition.
                self._ends_turn = True
                self.statement(merged)
                return
            self.statement(each)

    def statement(self, node: ast.stmt) -> None:
        if self.definitions.has_walrus:
            self.rebound = {each.target.id for each in ast.walk(node) if isinstance(each, ast.NamedExpr)}
        method = getattr(self, "statement_" + type(node).__name__.lower(), None)
        self.stack.clear()
        if method is None:
            self.stop(node, f"a statement of kind {type(node).__name__}")
        else:
            method(node)
        self.stack.clear()

    # -- leaving

    def statement_raise(self, node: ast.Raise) -> None:
        self.emit("raise", None, node)
        for part in (node.exc, node.cause):
            if part is not None:  # reached only by going on behind a call in it
                self.expression(part)
        self.emit("raise", None, node)

    def statement_return(self, node: ast.Return) -> None:
        self.expression(node.value if node.value is not None else ast.Constant(None))
        if None in self._around:
            self.emit("raise", None, node)  # the finally clause comes before; foresight leaves that alone
        self.emit("return", None, node)

    def statement_break(self, node: ast.Break) -> None:
        self._leave(node, "breaks")

    def statement_continue(self, node: ast.Continue) -> None:
        self._leave(node, "continues")

    def _leave(self, node: ast.AST, how: str) -> None:
        target = self._around[-1]
        if target is None:
            self.emit("raise", None, node)
        else:
            getattr(target, how).append(self.jump(node))

    # -- compound statements

    def statement_if(self, node: ast.If) -> None:
        ends_turn = self._ends_turn
        self.expression(node.test)
        branch = self.branch(node, Branch())
        self.block(node.body, ends_turn=ends_turn)
        if node.orelse:
            over = self.jump(node)
            branch.target = self.here
            self.block(node.orelse, ends_turn=ends_turn)
            self.land(over)
        else:
            branch.target = self.here
        branch.join = self.here

    def statement_for(self, node: ast.For) -> None:
        if isinstance(node.iter, ast.GeneratorExp):
            self._for_over_generator(node)
            return
        self.expression(node.iter)
        loop = self.loop(node)
        top = self.start_loop(loop, node)
        self.store(node.target)
        self._loop_body(node, loop, top)

    def _for_over_generator(self, node: ast.For) -> None:
        target = _Target()

        def body(loop: Loop) -> None:
            self.store(node.target)
            self._around.append(target)
            self.block(node.body, ends_turn=True)
            self._around.pop()
            self.land(*target.continues)

        self.for_over_generator(node, body)
        self.block(node.orelse)
        self.land(*target.breaks)

    def statement_while(self, node: ast.While) -> None:
        loop = self.loop(node)
        self.emit("begin_loop", loop, node)
        self.enter_loop(loop)
        top = self.emit("next_turn", loop, node)
        if not (isinstance(node.test, ast.Constant) and node.test.value):
            self.expression(node.test)
            self.emit("leave_unless", loop, node)
        self._loop_body(node, loop, top)

    def _loop_body(self, node: ast.For | ast.While, loop: Loop, top: int) -> None:
        target = _Target()
        self._around.append(target)
        self.block(node.body, ends_turn=True)
        self._around.pop()
        self.land(*target.continues)
        self.emit("jump", top, node)
        self.leave_loop(loop)
        loop.exit = self.here
        self.block(node.orelse)
        self.land(*target.breaks)

    def statement_try(self, node: ast.Try) -> None:
        if node.finalbody:
            self._around.append(None)
        self.block(node.body)
        self.block(node.orelse)
        over = [self.jump(node)]
        # Handlers are reached only by going on behind a call in them.
        for clause in node.handlers:
            self.block(clause.body)
            if clause.name:
                kind, where = self.variable(named(clause.name, clause, self.definitions))
                self.emit("delete_" + kind if kind == "local" else "raise", where, clause)
            over.append(self.jump(clause))
        if node.finalbody:
            self._around.pop()
        self.land(*over)
        self.block(node.finalbody)

    def statement_trystar(self, node: Any) -> None:
        self.stop(node, "a try statement with except*")

    def statement_with(self, node: ast.With) -> None:
        self.stop(node, "a with statement calls its context manager")
        for item in node.items:
            self.expression(item.context_expr)
            self.emit("raise", None, node)
        self._around.append(None)
        self.block(node.body)
        self._around.pop()
        self.emit("stop", "the end of a with statement calls its context manager", node)

    def statement_match(self, node: ast.Match) -> None:
        subject = self.fresh("subject")
        self.expression(node.subject)
        self.emit("store_local", subject, node)
        self.pop()
        over: list[int] = []
        branches: list[Branch] = []
        for case in node.cases:
            test = as_test(case.pattern)
            if test is None:
                self.stop(case.pattern, f"the pattern {ast.unparse(case.pattern)} may run code of an object")
            else:
                self._pattern(case, subject, test, branches)
            if case.guard is not None:
                self.expression(case.guard)
                branches.append(self.branch(case, Branch()))
            self.block(case.body)
            over.append(self.jump(node))
            for branch in branches:
                if branch.target < 0:
                    branch.target = self.here
        self.land(*over)
        for branch in branches:
            branch.join = self.here

    def _pattern(self, case: ast.match_case, subject: str, test: Any, branches: list[Branch]) -> None:
        if test.values:
            alternatives = []
            for operator, value in test.values:
                self.emit("load_local", subject, case)
                self.push(None)
                self.expression(value)
                self.emit("compare", operator, case)
                self.pop(2)
                self.push(None)
                alternatives.append(self.branch(case, Branch(when=True, keeps=True, gives=True)))
            self.emit("constant", False, case)
            for each in alternatives:
                each.target = each.join = self.here
            self.push(None)
            branches.append(self.branch(case, Branch()))
        if test.name is not None:
            kind, where = self.variable(named(test.name, case.pattern, self.definitions))
            self.emit("load_local", subject, case)
            self.emit("store_" + kind if kind != "global" else "raise", where, case)


def _yields(node: ast.FunctionDef | ast.Lambda) -> bool:
    stack: list[ast.AST] = list(node.body) if isinstance(node, ast.FunctionDef) else [node.body]
    while stack:
        each = stack.pop()
        if isinstance(each, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(each, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(each))
    return False


def _without_continue(node: ast.If, rest: list[ast.stmt]) -> ast.If | None:
    """``if test: …; continue`` and the rest of the loop's body as one statement; None for any other."""
    made: ast.If | None = None
    if isinstance(node.body[-1], ast.Continue):
        made = ast.If(node.test, node.body[:-1] or [ast.Pass()], [*node.orelse, *rest])
    elif node.orelse and isinstance(node.orelse[-1], ast.Continue):
        made = ast.If(node.test, [*node.body, *rest], node.orelse[:-1] or [ast.Pass()])
    elif len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        below = _without_continue(node.orelse[0], rest)
        # Only where the first branch doesn't reach the rest.
        if below is not None and isinstance(node.body[-1], ast.Continue | ast.Break | ast.Return | ast.Raise):
            made = ast.If(node.test, node.body, [below])
    return None if made is None else ast.copy_location(made, node)
