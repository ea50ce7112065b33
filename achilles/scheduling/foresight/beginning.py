"""Where a walk begins: the variables, operands and iterators of the real run, behind one of its calls."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .iterators import remaining
from .program import Generated, Resumption
from .statements import lower
from .values import UNKNOWN, ListModel, Pending, Unsafe, Variables
from .walking import OPERATIONS, Frame, Stop, Walk

if TYPE_CHECKING:
    from ..code import ScheduledCode
    from ..places import Place
    from .ahead import Foresight

__all__ = ["Key", "frame_at"]

#: Names a call: its site, the turns of the loops around it, and for inner functions the key of their call.
Key = tuple[Any, ...]


def frame_at(ahead: Foresight, place: Place, key: Key, result: Pending | None) -> Frame | None:
    """The activation that a walk goes on with behind a call.

    Args:
        ahead: Whose walk it is.
        place: Where the real run is.
        key: The same, as a key.
        result: The call's result; None for the call of an inner function, which will push it when it returns.

    Returns:
        The frame, with those that it returns to; None where the place can't be walked from.
    """
    code = ahead.code
    node = code.function_of(code.sites[place.site])
    if not isinstance(node, ast.FunctionDef | ast.Lambda):
        return None
    program = lower(ahead.definitions, node)
    resumption = program.resumptions.get(place.site)
    if resumption is None:
        return None
    caller = key[1 + len(place.counters) :]
    back = None if place.caller is None else frame_at(ahead, place.caller, caller[0], None)
    outer = _surroundings(code, node, back)
    variables = Variables(_variables(place.scopes, resumption), outer)
    for name in program.own_lists:
        found = variables.values.get(name)
        if type(found) is list:
            # The list itself will grow, when the real run appends to it.
            variables.values[name] = ListModel([], found, len(found))
    frame = Frame(program, variables, caller, back)
    frame.place = resumption.place
    frame.counters = dict(zip(resumption.loops, place.counters, strict=True))
    for number in resumption.loops:
        loop = code.loops[number]
        items = None if isinstance(loop, ast.While) else _items(loop, place.iterators.get(number))
        if items is not None:
            variables.values[f"iterator@{number}"] = items
    for generated in resumption.generated:
        _count(frame, generated)
        for number in generated.clauses:
            items = _items(code.loops[number], place.iterators.get(number))
            if items is not None:
                variables.values.setdefault(f"iterator@{number}", items)
    for name, loops in resumption.unfinished:
        # A comprehension that is at its very first item has made nothing yet; of others it can't be seen.
        first = all(frame.counters[number] == 0 for number in loops)
        variables.values[name] = [] if first else UNKNOWN
    walk = Walk(ahead, frame)
    frame.stack = [_evaluated(walk, frame, each) for each in resumption.stack]
    if result is not None:
        frame.stack.append(result)
    return frame


def _surroundings(code: ScheduledCode, node: ast.AST, back: Frame | None) -> Variables | None:
    """The variables around the definition of an inner function, if the activation around is walked."""
    if node is code.tree:
        return None
    owner = code.function_of(code.parents[node])
    while back is not None:
        if back.program.node is owner:
            return back.variables
        back = back.back
    return None


def _variables(scopes: Sequence[Mapping[str, Any]], resumption: Resumption) -> dict[str, Any]:
    """The variables of a function, from the mappings that the real run has for it and its comprehensions."""
    values = dict(scopes[-1])
    inlined = len(scopes) <= len(resumption.comprehensions)
    for names in resumption.comprehensions:
        for name, variable in names.items():
            for scope in scopes:
                if name in scope:
                    values[variable] = scope[name]
                    break
            if inlined:
                values.pop(name, None)  # the function's own variable of that name is hidden meanwhile
    return values


def _count(frame: Frame, generated: Generated) -> None:
    """Which turns a loop over a generator expression and that expression's clauses are in, if it shows."""
    counters, clauses = frame.counters, generated.clauses
    if generated.number in counters:
        if generated.simple:
            counters.update(dict.fromkeys(clauses, counters[generated.number]))
    elif generated.simple and clauses:
        counters[generated.number] = counters[clauses[0]] - 1
    elif all(counters.get(number) == 0 for number in clauses):
        counters[generated.number] = -1


def _items(loop: Any, iterator: Any) -> Any:
    """What is left for a loop; None if that can't be seen."""
    if iterator is None:
        return None
    if type(iterator) in (enumerate, zip, reversed):
        call = loop.iter
        made_here = (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in ("enumerate", "zip", "reversed")
        )
        if not made_here:
            return None  # a variable may hold it, and the program pass it on
    return remaining(iterator)


def _evaluated(walk: Walk, frame: Frame, instructions: Any) -> Any:
    """What was on the stack, evaluated once more."""
    if instructions is None:
        return UNKNOWN
    depth = len(frame.stack)
    try:
        for name, argument in instructions:
            OPERATIONS[name](walk, frame, argument)
    except (Stop, Unsafe, Exception):  # noqa: BLE001 - it can't be seen, then
        value = UNKNOWN
    else:
        value = frame.stack[-1]
    del frame.stack[depth:]
    return value
