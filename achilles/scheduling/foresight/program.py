"""A definition as a list of instructions for a stack machine, which can stop, wait and be copied anywhere.

Foresight walks instructions, not the tree, because it has to begin in the middle of an expression (behind a
call that the real run waits for), to stop in the middle of one, and to go on with a branch later than with
what comes after it. On a list of instructions the place is a number and the state a dictionary and a stack.

Each instruction is a pair of an operation's name and its argument; `walking` says what they do. Variables of
comprehensions are named ``name@number``, so that one dictionary holds all variables of an activation;
iterators are kept there too, as ``iterator@number``, and unfinished results as ``result@number``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Branch", "Generated", "Loop", "Program", "Resumption", "SyncPoint"]


@dataclass(frozen=True)
class SyncPoint:
    """What foresight doesn't walk past.

    Attributes:
        node: The statement or expression.
        line: Its line in the file.
        reason: Why, as part of a sentence.
        certain: False where it depends on the types that are met at run time.
    """

    node: ast.AST
    line: int
    reason: str
    certain: bool = True


@dataclass(eq=False)
class Branch:
    """A conditional jump, and the stretch of instructions that is decided by it.

    Attributes:
        start: Where the stretch begins, behind the jump.
        target: Where the jump leads.
        join: Where all ways meet again.
        when: The truth value for which it jumps.
        keeps: Whether the value stays on the stack when it jumps, as with ``and`` and ``or``.
        gives: Whether the stretch leaves a value on the stack.
        stores: The variables that the stretch binds, once somebody asked; see `branches`.
        leaves: Whether the stretch leads elsewhere, or holds a sync-point.
    """

    start: int = -1
    target: int = -1
    join: int = -1
    when: bool = False
    keeps: bool = False
    gives: bool = False
    stores: tuple[str, ...] | None = None
    leaves: bool = False


@dataclass(eq=False)
class Loop:
    """A loop that is walked.

    Attributes:
        number: Of the loop in the tree; negative where that has none.
        exit: Where it goes on when it is over.
        appends: Names of the function's own lists that its body appends to.
    """

    number: int
    exit: int = -1
    appends: frozenset[str] = frozenset()

    @property
    def iterator(self) -> str:
        return f"iterator@{self.number}"


@dataclass(frozen=True)
class Generated:
    """A loop over a generator expression, which is walked as the loops of the expression around its body.

    Attributes:
        number: Of the loop.
        clauses: Of the expression's clauses that are under way.
        simple: Whether each turn of the one clause is a turn of the loop.
    """

    number: int
    clauses: list[int]
    simple: bool


@dataclass(frozen=True)
class Resumption:
    """How to go on behind a call site.

    Attributes:
        place: The instruction behind the call.
        stack: For each value on the stack below the call's result: instructions that give it once more, or
            None where that can't be had.
        loops: The loops that enclose the site, outermost first; as in its key.
        unfinished: Results of comprehensions under way: the variable, and the loops of their clauses that
            have begun.
        generated: Loops over generator expressions around the site, outermost first.
        comprehensions: For each comprehension around the site, outermost first: names and their variables.
    """

    place: int
    stack: tuple[tuple[tuple[str, Any], ...] | None, ...]
    loops: tuple[int, ...]
    unfinished: tuple[tuple[str, tuple[int, ...]], ...]
    comprehensions: tuple[dict[str, str], ...]
    generated: tuple[Generated, ...] = ()


@dataclass(eq=False)
class Program:
    """The instructions of one function: the scheduled one, or one within it.

    Attributes:
        name: Of the function.
        node: Its definition.
        instructions: Operation and argument of each.
        lines: The node that each instruction is for.
        resumptions: By site.
        sync_points: In the order in which they were met.
        own_lists: Variables that hold lists which only this function can see; see `own_lists`.
        variables: The function's own variables.
        is_generator: Whether calling it runs nothing.
        linked: The instructions with functions instead of names; made when it is first walked.
    """

    name: str
    node: ast.FunctionDef | ast.Lambda
    instructions: list[tuple[str, Any]] = field(default_factory=list)
    lines: list[ast.AST] = field(default_factory=list)
    resumptions: dict[int, Resumption] = field(default_factory=dict)
    sync_points: list[SyncPoint] = field(default_factory=list)
    own_lists: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    is_generator: bool = False
    linked: list[tuple[Any, Any]] | None = None
