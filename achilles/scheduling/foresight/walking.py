"""A walk ahead of the real run: instructions, variables, a stack; and what each instruction does.

A walk goes on until it meets a sync-point (or anything that it can't tell the effect of), a value that it
must know and that is pending, or the bounds of foresight. Nothing that it does has an effect, except that
functional calls are started.

The operations are functions of the walk, its innermost frame and the instruction's argument. One that has to
wait raises `Wait` before it has changed anything, and is done again later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .interrupting import is_from_outside
from .values import UNBOUND, Pending, Unsafe, Variables

if TYPE_CHECKING:
    from .ahead import Foresight
    from .program import Branch, Program

__all__ = ["OPERATIONS", "Frame", "Full", "Operation", "Stop", "Wait", "Walk", "operation"]

Operation = Callable[["Walk", "Frame", Any], None]
OPERATIONS: Final[dict[str, Operation]] = {}


class Stop(Exception):
    """The walk is over; holds the reason."""


class Wait(Exception):
    """The walk can't go on until ``pending`` is known."""

    def __init__(self, pending: Pending) -> None:
        super().__init__()
        self.pending = pending


class Full(Exception):
    """As much was started as may be under way."""


def operation(function: Operation) -> Operation:
    """Register what an instruction does, under the function's name without a leading ``do_``."""
    OPERATIONS[function.__name__.removeprefix("do_")] = function
    return function


class Frame:
    """An activation of a function, ahead of the real run.

    Attributes:
        program: The function.
        instructions: Its instructions, linked.
        place: The next instruction.
        stack: Operands.
        variables: The function's variables.
        counters: By loop: the number of its turn.
        caller: What the keys of calls end with: nothing, or the key of the call of this inner function.
        until: The instruction at which a walk of a branch is over; -1 where none is.
        back: The frame that called.
    """

    __slots__ = (
        "back",
        "caller",
        "counters",
        "instructions",
        "place",
        "program",
        "stack",
        "until",
        "variables",
    )

    def __init__(
        self, program: Program, variables: Variables, caller: tuple[Any, ...], back: Frame | None
    ) -> None:
        self.program = program
        linked = program.linked
        if linked is None:
            linked = program.linked = [
                (OPERATIONS[name], argument) for name, argument in program.instructions
            ]
        self.instructions = linked
        self.place = 0
        self.stack: list[Any] = []
        self.variables = variables
        self.counters: dict[int, int] = {}
        self.caller = caller
        self.until = -1
        self.back = back


class Walk:
    """One walk: the main one, or that of a branch that was put off.

    Attributes:
        ahead: The foresight that it belongs to.
        frame: The innermost activation.
        branch: For a branch that was put off: it, and the values that others wait for, by variable.
        over: Whether it will not go on.
        reason: Why.
        instead: For a branch: variables that closures know, by id, and the copies that this walk uses.
    """

    __slots__ = ("ahead", "branch", "frame", "given", "instead", "over", "promised", "reason", "waits")

    def __init__(self, ahead: Foresight, frame: Frame) -> None:
        self.ahead = ahead
        self.frame = frame
        self.branch: Branch | None = None
        self.promised: dict[str, Pending] = {}
        self.given: Pending | None = None
        self.over = False
        self.waits = False
        self.reason = ""
        self.instead: dict[int, tuple[Variables, Variables]] = {}

    def ready(self) -> None:
        """What it waited for is known."""
        self.waits = False
        if not self.over:
            self.ahead.resume(self)

    def promised_values(self) -> list[Pending]:
        return [*self.promised.values(), *([] if self.given is None else [self.given])]

    def release(self) -> None:
        """It is over: keep nothing alive, not even what closures hold in a circle."""
        self.over = True
        frame: Frame | None = self.frame
        while frame is not None:
            frame.variables.values.clear()
            frame.stack.clear()
            frame = frame.back

    def steps(self, limit: int) -> None:
        """Do up to ``limit`` instructions.

        Raises:
            Full: Nothing more may be started now; the walk is where it was.
        """
        frame = self.frame
        place = frame.place
        try:
            for _ in range(limit):
                frame = self.frame
                place = frame.place
                if place == frame.until:
                    self._finish()
                    return
                operate, argument = frame.instructions[place]
                frame.place = place + 1
                operate(self, frame, argument)
                if self.over:
                    return
        except Wait as wait:
            frame.place = place
            self.waits = True
            wait.pending.waiters.append(self)
        except Full:
            frame.place = place
            raise
        except (Stop, Unsafe) as stop:
            frame.place = place
            self.end(str(stop))
        except Exception as error:
            frame.place = place
            if is_from_outside(error):
                self.ahead.mistrust("interrupted")
                raise
            self.end(f"{type(error).__name__} is raised")  # the real run will raise it here
        except BaseException:
            self.ahead.mistrust("interrupted")
            raise

    def end(self, reason: str) -> None:
        """Go no further."""
        self.over = True
        self.reason = reason
        if self.branch is not None:
            # Others have gone on behind this branch, taking it that nothing in it stops them.
            self.ahead.mistrust(reason)

    def _finish(self) -> None:
        """The branch is walked: say what became of what it binds."""
        self.over = True
        values = self.frame.variables.values
        if self.given is not None:
            self.ahead.settle(self.given, self.frame.stack[-1])
        for name, promised in self.promised.items():
            self.ahead.settle(promised, values.get(name, UNBOUND))
        self.release()

    def put_off(self, branch: Branch, stores: tuple[str, ...], condition: Pending) -> None:
        """Go on behind a branch now, and walk it when its condition is known.

        Called at the jump: the condition is on the stack, and the next instruction is the one behind it.
        """
        frame = self.frame
        copies: dict[int, tuple[Variables, Variables]] = {}
        later = Walk(self.ahead, _copied_frame(frame, copies))
        later.instead = {
            number: (original, copies[id(now)][1] if id(now) in copies else now)
            for number, (original, now) in self.instead.items()
        }
        later.instead.update(copies)
        later.frame.place = branch.start - 1
        later.frame.until = branch.join
        later.branch = branch
        later.waits = True
        frame.stack.pop()
        for name in stores:
            later.promised[name] = frame.variables.values[name] = Pending()
        if branch.gives:
            later.given = Pending()
            frame.stack.append(later.given)
        frame.place = branch.join
        condition.waiters.append(later)

    def own(self, variables: Variables) -> Variables:
        """The variables that this walk uses in place of those that a closure knows."""
        found = self.instead.get(id(variables))
        return variables if found is None else found[1]


def _copied_frame(frame: Frame, copies: dict[int, tuple[Variables, Variables]]) -> Frame:
    """A frame, those that it returns to, and all of their variables, apart from the ones that go on."""
    back = None if frame.back is None else _copied_frame(frame.back, copies)
    copy = Frame(frame.program, _copied_variables(frame.variables, copies), frame.caller, back)
    copy.place, copy.until = frame.place, frame.until
    copy.stack, copy.counters = list(frame.stack), dict(frame.counters)
    return copy


def _copied_variables(variables: Variables, copies: dict[int, tuple[Variables, Variables]]) -> Variables:
    known = copies.get(id(variables))
    if known is None:
        known = copies[id(variables)] = (variables, Variables(dict(variables.values), None))
        if variables.outer is not None:
            known[1].outer = _copied_variables(variables.outer, copies)
    return known[1]
