"""Whether a branch whose condition isn't known yet can be walked later than what comes after it.

It can if no statement in it may be a sync-point, so that what comes after it stays as it is whatever the
branch does, but for the variables that the branch binds. That is decided on its instructions.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from ..functional import is_functional
from .emitting import ABSENT
from .program import Branch, Loop, Program
from .pure_calls import is_pure
from .values import Closure, settled

if TYPE_CHECKING:
    from .walking import Frame, Walk

__all__ = ["may_be_put_off"]

# Instructions that end the walk, or change what isn't the function's own.
_SYNC_POINTS = frozenset({"stop", "return", "raise", "store_free"})
_STORES = frozenset({"store_local", "delete_local", "append"})
_CALLS = frozenset({"call", "call_spread"})
# Variables of foresight's own that live only within one expression.
_PASSING = ("operand@", "result@", "subject@")


def may_be_put_off(walk: Walk, frame: Frame, branch: Branch) -> tuple[str, ...] | None:
    """The variables that a branch binds; None if it must be decided before the walk goes on.

    Args:
        walk: The walk that came to it.
        frame: The activation.
        branch: The branch.
    """
    program = frame.program
    if branch.stores is None:
        branch.stores, branch.leaves = _stores(program, branch)
    if branch.leaves:
        return None
    for place in range(branch.start, branch.join):
        if program.instructions[place][0] in _CALLS:
            if not _is_harmless(walk, frame, program, place, []):
                return None
    return branch.stores


def _stores(program: Program, branch: Branch) -> tuple[tuple[str, ...], bool]:
    """What a branch binds, and whether it leads elsewhere or holds a sync-point."""
    found: dict[str, None] = {}
    made: set[str] = set()
    for place in range(branch.start, branch.join):
        name, argument = program.instructions[place]
        if name in _SYNC_POINTS:
            return (), True
        if any(not branch.start <= target <= branch.join for target in _targets(name, argument)):
            return (), True
        if name in _STORES:
            passing = argument.startswith(_PASSING)
            if name == "store_local" and ("@" in argument):
                made.add(argument)  # bound anew wherever it is used
            elif not (passing and argument in made):
                found[argument] = None
    return tuple(found), False


def _targets(name: str, argument: Any) -> list[int]:
    if name == "jump":
        return [argument]
    if name == "branch" or (name == "leave_unless" and isinstance(argument, Branch)):
        return [argument.target]
    if name in ("next_item", "leave_unless") and isinstance(argument, Loop):
        return [argument.exit]
    return []


def _is_harmless(walk: Walk, frame: Frame, program: Program, place: int, within: list[Program]) -> bool:
    """Whether a call is certain to be no sync-point."""
    node = program.lines[place]
    if not isinstance(node, ast.Call):
        return False
    definitions = walk.ahead.definitions
    found = definitions.value_of(node.func)
    if found is not ABSENT:
        if is_functional(found):
            return hasattr(node, "site")
        return is_pure(found, walk.ahead.code.pure)
    if not isinstance(node.func, ast.Name) or program is not frame.program:
        return False
    return _is_harmless_function(walk, frame, settled(_variable(frame, node.func, walk)), within)


def _variable(frame: Frame, node: ast.Name, walk: Walk) -> Any:
    variables = frame.variables
    while True:
        if node.id in variables.values:
            return variables.values[node.id]
        if variables.outer is None:
            return None
        variables = variables.outer


def _is_harmless_function(walk: Walk, frame: Frame, function: Any, within: list[Program]) -> bool:
    if is_functional(function) or is_pure(function, walk.ahead.code.pure):
        return True
    program = function.program if type(function) is Closure else walk.ahead.program_of(function)
    if program is None or program.is_generator or program in within or len(within) > 8:
        return False
    for place, (name, _) in enumerate(program.instructions):
        if name in ("stop", "raise", "store_free"):
            return False
        if name in _CALLS and not _is_harmless(walk, frame, program, place, [*within, program]):
            return False
    return True
