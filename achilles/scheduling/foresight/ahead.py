"""What the real run asks: foresight walks ahead of it, starts calls, and hands them over where they fit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from . import applying, calling, controlling, displaying  # noqa: F401 - they register what instructions do
from .beginning import Key, frame_at
from .emitting import Definitions
from .entries import Entries, fits
from .interrupting import is_from_outside
from .program import Program, SyncPoint
from .statements import lower
from .values import Pending, abandon, settled
from .verifying import same, stays_as_it_is
from .waiting import Entry, Forward
from .walking import Full, Walk

if TYPE_CHECKING:
    from ..calls import Calls, Started
    from ..code import ScheduledCode
    from ..places import Place

__all__ = ["Foresight", "sync_points"]

# Instructions between two looks whether the awaited call is done.
_STRIDE: Final = 64
# Instructions in one go when it is done already: enough to keep slots fed, too few to be felt.
_STRIDES_AFTERWARDS: Final = 2
# In long stretches without calls, other threads get a turn after so many.
_STRIDES_BETWEEN_PAUSES: Final = 16
# Pieces of branches that are walked, when the real run is behind them, before a call is taken.
_STRIDES_BEFORE_TAKING: Final = 100


class Foresight:
    """Walks ahead of one activation of a scheduled function. Used by the thread that runs it, only.

    Attributes:
        code: The scheduled function.
        finished: Where calls are appended when they are done.
        lost: Whether it isn't walking, so that `begin` should be called.
    """

    def __init__(self, code: ScheduledCode, calls: Calls) -> None:
        """Make nothing yet.

        Args:
            code: The scheduled function.
            calls: What starts its functional calls.
        """
        self.code = code
        self.finished: deque[Started] = deque()
        self.lost = True
        self.outstanding = 0
        self._calls = calls
        self._entries = Entries(calls)
        # By id: a call that is under way, and its result here.
        self._under_way: dict[int, tuple[Started, Pending]] = {}
        self._awaited: Started | None = None
        self._main: Walk | None = None
        self._main_ready = False
        self._branches: deque[Walk] = deque()
        self._told: deque[Any] = deque()
        self._distrusted = False
        self._definitions: Definitions | None = None

    # -- for walks

    @property
    def definitions(self) -> Definitions:
        """The programs of the function and of those within it; kept on its code for later activations."""
        if self._definitions is None:
            found = self.code.foresight_program
            if found is None:
                found = self.code.foresight_program = Definitions(self.code)
            self._definitions = found
        return self._definitions

    @property
    def globals(self) -> Mapping[str, Any]:
        return self.definitions.globals

    @property
    def cells(self) -> Mapping[str, Any]:
        return self.definitions.cells

    def program_of(self, function: Any) -> Program | None:
        """The program of a function within the scheduled one, from its object in the real run."""
        node = self.code.definition_of(function)
        return None if node is None else lower(self.definitions, node)

    def is_full(self, walk: Walk) -> bool:
        """Whether a walk may start no more calls for now."""
        return self._entries.is_full(self.outstanding, walk is not self._main)

    def come_to(
        self, key: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Pending:
        """A walk came to a functional call: start it as soon as its arguments are known.

        Returns:
            Its result.
        """
        entry = Entry(self, key, function, args, kwargs)
        self._entries.add(entry)
        entry.begin()
        return entry.result

    def start(self, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Start a call whose arguments are known, or go on with one that was started before."""
        if not all(stays_as_it_is(each) for each in (entry.function, *args, *kwargs.values())):
            return  # the real run will start it
        if not self._entries.adopt(entry, args, kwargs):
            entry.started = self._calls.start(entry.function, args, kwargs, self.finished)
        assert entry.started is not None
        self._follow(entry.started, entry.result)

    def holds(self, entry: Entry) -> bool:
        """Whether a call is still to be started."""
        return self._entries.holds(entry)

    def settle(self, pending: Pending, value: Any) -> None:
        """A pending value is known, or is to be what another one will be."""
        value = settled(value)
        if type(value) is Pending:
            Forward(self, value, pending)
            return
        pending.value, pending.known = value, True
        self._told.extend(pending.waiters)
        pending.waiters = []

    def resume(self, walk: Walk) -> None:
        """A walk can go on."""
        if walk is self._main:
            self._main_ready = True
        else:
            self._branches.append(walk)

    def mistrust(self, reason: str) -> None:
        """What was walked past on trust was no good: nothing behind it can be relied on."""
        self._distrusted = True

    # -- for the real run

    def take(
        self, key: Any, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Started | None:
        """What was started for the call that the real run is about to make.

        Args:
            key: Its place.
            function: What it calls.
            args: Its arguments.
            kwargs: The same by name.

        Returns:
            The call, which the caller owns from here on; None if there is none, or it was started with
            anything else. Then the caller starts it, and calls `begin`.
        """
        if self._main is None and not self._entries:
            self.lost = True
            return None
        self._react()
        self._walk_all_branches()
        entry = self._entries.pop(key)
        if entry is None:
            self._forget()
            return None
        started = entry.started
        if started is None:
            if not same(entry.function, function):
                abandon([entry.result])
                self._forget()
                return None
            # Its arguments are the real run's alone to see; the walk has gone on without.
            started = self._calls.start(function, args, kwargs, self.finished)
            self._follow(started, entry.result)
            return started
        if fits(entry, function, args, kwargs):
            return started
        started.cancel()
        self._forget()
        return None

    def begin(self, place: Place, key: Key, started: Started) -> None:
        """Walk on from behind a call of the real run.

        Args:
            place: Where it is.
            key: The same, as a key.
            started: The call, which is under way or done.
        """
        self._forget()
        result = Pending()
        try:
            frame = frame_at(self, place, key, result)
        except Exception as error:
            if is_from_outside(error):
                raise
            return  # whatever is wrong here, the program runs without foresight as well
        if frame is None:
            return  # such as in an expression that isn't walked; the next call is another chance
        self.lost = False
        self._main, self._main_ready = Walk(self, frame), True
        self._follow(started, result)

    def advance(self, started: Started) -> None:
        """Walk on until a call is done, or nothing more can be done. Doesn't wait.

        Args:
            started: The call that the real run waits for.
        """
        if self._awaited is not started:
            self._react()
            # It may be done before another thread says so in `finished`. The real run goes on then, and all
            # that depends on it must be looked at before the next call is taken.
            self._awaited = started
        strides = pieces = 0
        while True:
            pieces += 1
            if pieces % _STRIDES_BETWEEN_PAUSES == 0:
                time.sleep(0)  # the threads that bring results need the interpreter, too
            if self.finished or self._told or self._distrusted or started.done:
                self._react()
            if started.done:
                strides += 1
                if strides > _STRIDES_AFTERWARDS:
                    return
            if self._branches:
                if not self._walk_branch():
                    return
            elif self._main_ready and (main := self._main) is not None:
                if self.is_full(main):
                    return
                self._main_ready = False
                try:
                    main.steps(_STRIDE)
                except Full:
                    self._main_ready = True
                    return
                if main.over:
                    self._stop()
                elif not main.waits:
                    self._main_ready = True
            elif not self.finished and not self._told:
                return

    def reset(self) -> None:
        """The real run leaves the way that was walked: forget what depends on it."""
        self._forget()

    def close(self) -> None:
        """The real run is over: cancel what it hasn't taken."""
        self._forget()
        self._entries.clear()
        self._awaited = None
        self.finished.clear()

    # -- within

    def _walk_all_branches(self) -> None:
        """Walk the branches that are decided: the real run is behind them, or comes to them later.

        What was started behind one is good only if nothing in it proves unsafe, so where that takes too long
        all is dropped that depends on it.
        """
        for _ in range(_STRIDES_BEFORE_TAKING):
            if not self._branches:
                return
            if not self._walk_branch():
                break
            self._react()
        if self._branches:
            self._forget()

    def _walk_branch(self) -> bool:
        """Let the first of the branches walk; False if it may start nothing more now."""
        if self.is_full(self._branches[0]):
            return False
        walk = self._branches.popleft()
        try:
            walk.steps(_STRIDE)
        except Full:
            self._branches.appendleft(walk)
            return False
        if not walk.over and not walk.waits:
            self._branches.appendleft(walk)
        return True

    def _react(self) -> None:
        """Evaluate and start what waited for calls that are done."""
        finished, told = self.finished, self._told
        try:
            if self._awaited is not None and self._awaited.done:
                self._arrived(self._awaited)
                self._awaited = None
            while finished or told:
                while finished:
                    self._arrived(finished.popleft())
                if told:
                    told.popleft().ready()
        except BaseException:
            self._distrusted = True  # interrupted, by a signal
            raise
        if self._distrusted:
            self._forget()

    def _arrived(self, started: Started) -> None:
        """A call is done: say so to what waits for it."""
        _, result = self._under_way.pop(id(started), (None, None))
        if result is None:
            return
        self._known(started, result)

    def _known(self, started: Started, result: Pending) -> None:
        if started.failed:
            self._stop()  # the real run will raise it there; that decides what comes behind
            abandon([result])
        else:
            self._entries.learn(started.outcome)
            self.settle(result, started.outcome)

    def _follow(self, started: Started, result: Pending) -> None:
        if started.done:
            self._known(started, result)
            return
        self._under_way[id(started)] = (started, result)

    def _stop(self) -> None:
        """Go no further, and keep nothing alive that the real run may drop."""
        self._main_ready = False
        if self._main is not None:
            self._main.release()
            self._main = None

    def _forget(self) -> None:
        """Drop all but calls whose arguments nothing can change: these are as good wherever they are met."""
        self.lost = True
        self._stop()
        self._distrusted = False
        abandon(result for _, result in self._under_way.values())
        for waiter in (*self._branches, *self._told):
            abandon(waiter.promised_values())
        for walk in self._branches:
            walk.release()
        self._branches.clear()
        self._told.clear()
        self._under_way.clear()
        self.outstanding = 0
        self._entries.forget()


def sync_points(code: ScheduledCode) -> list[SyncPoint]:
    """What foresight doesn't walk past in a function, and in those within it.

    Args:
        code: The scheduled function.

    Returns:
        The sync-points, in the order of the source.
    """
    definitions = code.foresight_program or Definitions(code)
    code.foresight_program = definitions
    lower(definitions, code.tree)
    found = [each for program in definitions.programs.values() for each in program.sync_points]
    return sorted(found, key=lambda each: (each.line, getattr(each.node, "col_offset", 0)))
