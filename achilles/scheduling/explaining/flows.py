"""What a value is made of: the functional calls whose results it holds, or is computed from.

`Flows` remembers that for each variable while a tree is walked in the order of execution (`walking.py`).
Names are told apart by the scope that owns them, so a comprehension's variable is not the function's of the
same name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..scopes import Scope

__all__ = ["NOTHING", "Flow", "Flows", "Variable", "joined"]

Variable = tuple[Scope, str]
_NONE: frozenset[int] = frozenset()


class Flow(NamedTuple):
    """The calls that a value stems from, by their numbers.

    Attributes:
        whole: Those without whose results there is no value.
        parts: Those whose results it contains, as a list does: the list is there, and its length known,
            before.
    """

    whole: frozenset[int] = _NONE
    parts: frozenset[int] = _NONE

    @property
    def every(self) -> frozenset[int]:
        """All of them."""
        return self.whole | self.parts

    @property
    def solid(self) -> Flow:
        """As the flow of what is computed from the value and all that it contains."""
        return Flow(self.every)

    @property
    def contained(self) -> Flow:
        """As the flow of a container that the value is put in."""
        return Flow(_NONE, self.every)


NOTHING = Flow()


def joined(flows: Iterable[Flow]) -> Flow:
    """The flow of what may be any of several values, or of what is made of all."""
    whole: set[int] = set()
    parts: set[int] = set()
    for flow in flows:
        whole |= flow.whole
        parts |= flow.parts
    return Flow(frozenset(whole), frozenset(parts)) if whole or parts else NOTHING


class Flows:
    """The flows of variables at one point of the program."""

    def __init__(self, now: dict[Variable, Flow] | None = None) -> None:
        self.now: dict[Variable, Flow] = now or {}

    def copy(self) -> Flows:
        return Flows(dict(self.now))

    def get(self, variable: Variable) -> Flow | None:
        return self.now.get(variable)

    def set(self, variable: Variable, flow: Flow) -> None:
        self.now[variable] = flow

    def join(self, other: Flows) -> bool:
        """Add what holds on another way to the same point; whether that was anything new."""
        changed = False
        for variable, flow in other.now.items():
            before = self.now.get(variable, NOTHING)
            after = joined((before, flow))
            if after != before or variable not in self.now:
                self.now[variable] = after
                changed = changed or after != before
        return changed
