"""Patterns of ``match`` that are comparisons with values, which foresight can decide."""

from __future__ import annotations

import ast
from dataclasses import dataclass

__all__ = ["Test", "as_test"]


@dataclass(frozen=True)
class Test:
    """What a pattern asks.

    Attributes:
        values: Operators (names of classes in `ast`) and values, one of which must compare true; none:
            anything matches.
        name: The variable that is bound to the subject when it matches.
    """

    values: tuple[tuple[str, ast.expr], ...]
    name: str | None = None


def as_test(pattern: ast.pattern) -> Test | None:
    """The comparisons that a pattern stands for; None if it looks into the subject."""
    if isinstance(pattern, ast.MatchValue):
        return Test((("Eq", pattern.value),))
    if isinstance(pattern, ast.MatchSingleton):
        return Test((("Is", ast.copy_location(ast.Constant(pattern.value), pattern)),))
    if isinstance(pattern, ast.MatchAs):
        if pattern.pattern is None:
            return Test((), pattern.name)
        inner = as_test(pattern.pattern)
        return None if inner is None or inner.name is not None else Test(inner.values, pattern.name)
    if isinstance(pattern, ast.MatchOr):
        tests = [as_test(each) for each in pattern.patterns]
        if any(each is None or not each.values or each.name is not None for each in tests):
            return None
        return Test(tuple(value for each in tests if each is not None for value in each.values))
    return None
