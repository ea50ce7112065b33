"""The real run: what the translated code of a scheduled function calls.

The function runs in program order, in its caller's thread, as plain Python. At a functional call it asks for
what foresight has started for this place, or starts it, lets foresight walk on while it isn't done, and goes
on with the result. Rules:

1. What isn't functional is called from the user's own frame, and everything is evaluated in the order of the
   source; nothing here has an effect that the program could see.
2. After an exception, a yield, or in another thread, nothing is taken for granted: foresight is reset, or not
   asked at all.
3. An activation ends with its function, however that ends; what was started and not used is cancelled then.
4. After its end, and in other processes, functional calls are made in place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any

from .calls import Handle, forced
from .functional import is_functional
from .places import Place, call_under_way, scopes_of
from .tracebacks import raise_for_call, trimmed

if TYPE_CHECKING:
    from .foresight import Foresight
    from .provision import Provision
    from .translation import Translation

# Iterators that are written where they are used: foresight looks at the tree for where they come from.
_MADE_FOR_LOOPS = frozenset(
    [
        enumerate, zip, reversed, type(reversed([])), type(reversed({})), type(reversed({}.items())),
        type(reversed({}.values())),
    ]
)  # fmt: skip

__all__ = ["INERT", "Activation", "Inert", "Run"]


class Run:
    """What all activations of one call of a scheduled function share.

    Attributes:
        translation: The function's code, and what is known of it.
        thread: The thread that it runs in; a generator may change it at a yield.
        open: Whether it still runs.
        frames: Activations by the ids of their frames, for those that may call inner functions.
    """

    __slots__ = ("_fresh", "_provision", "foresight", "frames", "open", "thread", "translation")

    def __init__(self, translation: Translation, provision: Provision) -> None:
        self.translation = translation
        self._provision = provision
        self.thread = get_ident()
        self.open = True
        self.foresight: Foresight | None = None
        self.frames: dict[int, Activation] = {}
        self._fresh = 0

    def fresh(self) -> int:
        """A negative number that this run hasn't used."""
        self._fresh -= 1
        return self._fresh

    def outcome(self, activation: Activation, site: int, function: Any, args: Any, kwargs: Any) -> Any:
        """Make a functional call: wait for what foresight started, or start it.

        Returns:
            Its result; a handle if that stayed where it was made.

        Raises:
            BaseException: What the function raised.
        """
        calls = self._provision.calls
        foresight = self.foresight
        if foresight is None:
            from .foresight import Foresight

            foresight = self.foresight = Foresight(self.translation.code, calls)
        key = activation.key(site)
        started = foresight.take(key, function, args, kwargs)
        if started is None:
            started = calls.start(function, args, kwargs, foresight.finished)
        try:
            if foresight.lost:
                place = activation.place(site, sys._getframe(2))
                if place is not None:
                    foresight.begin(place, key, started)
            foresight.advance(started)
            while not started.done:
                calls.wait(started, foresight.finished)
                foresight.advance(started)
        except BaseException:
            started.cancel()  # Ctrl-C
            raise
        if started.failed:
            foresight.reset()
            raise_for_call(started.outcome)
        return started.outcome

    def reset(self) -> None:
        """The run leaves the way that foresight took."""
        if self.foresight is not None and get_ident() == self.thread:
            self.foresight.reset()

    def close(self) -> None:
        """The function is over."""
        if self.open:
            self.open = False
            try:
                foresight, self.foresight = self.foresight, None
                if foresight is not None:
                    foresight.close()
                    foresight.finished.clear()
            finally:
                self._provision.leave()


class Activation:
    """One activation of a scheduled function or of an inner function: it counts the loops that it is in.

    Args:
        run: The call of the scheduled function that it is part of.
        caller: What ends its keys: the key of the call of an inner function, or a fresh number; empty for the
            scheduled function's own.
        called_from: The activation and the site of that call, if known.
    """

    __slots__ = ("_called_from", "_caller", "_counters", "_frame", "_iterators", "_run", "asked", "called")

    def __init__(
        self,
        run: Run,
        caller: tuple[Any, ...] = (),
        called_from: tuple[Activation, int] | None = None,
    ) -> None:
        code = run.translation.code
        self._run = run
        self._counters = [-1] * len(code.loops)
        self._iterators: dict[int, Any] = {}
        self._caller = caller
        self._called_from = called_from
        self._frame = 0
        #: For sites where handles may come or go: whether the function is functional.
        self.asked: dict[int, bool] = {}
        #: What is being called at a site, or was last.
        self.called: dict[int, Any] | None = {} if code.inner else None
        if code.inner:
            self._frame = id(sys._getframe(2))
            run.frames[self._frame] = self

    # -- what the translated code calls

    def call(self, site: int, function: Any) -> Any:
        """What to call at a site: the function, or for a functional one, what asks for its result."""
        if is_functional(function):
            return Asking(self._ask, site, function)
        if self.called is not None:
            self.called[site] = function
        return function

    def site(self, number: int, function: Any, keeps: bool) -> Any:
        """The same as `call`, for a site whose result may be a handle (``keeps``), or whose arguments may."""
        asked = self.asked[number] = is_functional(function)
        if asked:
            return Asking(self._ask_kept if keeps else self._ask, number, function)
        if self.called is not None:
            self.called[number] = function
        return function

    def argument(self, number: int, value: Any) -> Any:
        """An argument of a site, which may be a handle or hold some: only a functional call may get it so."""
        return value if self.asked[number] else forced(value)

    def force(self, value: Any) -> Any:
        """What a variable holds, fetched if it is a handle; in a list each element."""
        return forced(value)

    #: What naming an unbound variable raises.
    unbound = NameError

    def loop(self, number: int, iterable: Any) -> Iterable[Any]:
        """Enter a ``for`` loop or a clause of a comprehension: the iterator that it shall use."""
        kind = type(iterable)
        if not hasattr(kind, "__iter__") and not hasattr(kind, "__getitem__"):
            return iterable  # type: ignore[no-any-return] # the loop itself says what is wrong
        iterator: Iterable[Any] = iter(iterable)
        self._counters[number] = -1
        if iterator is iterable and kind not in _MADE_FOR_LOOPS:
            self._iterators.pop(number, None)  # the program may read it elsewhere too
        else:
            self._iterators[number] = iterator
        return iterator

    def anew(self, number: int) -> None:
        """Enter a ``while`` loop."""
        self._counters[number] = -1

    def again(self, number: int) -> bool:
        """The next iteration begins."""
        self._counters[number] += 1
        return True

    def caught(self) -> None:
        """An exception was caught."""
        self._run.reset()
        error = sys.exc_info()[1]
        if error is not None:
            trimmed(error)

    def unwinding(self) -> None:
        """A ``finally`` began, perhaps because of an exception."""
        error = sys.exc_info()[1]
        if error is not None:
            self._run.reset()

    def resumed(self, sent: Any) -> Any:
        """A generator goes on behind a yield, perhaps in another thread."""
        run = self._run
        run.thread = get_ident()
        run.reset()
        return sent

    def inner(self, mark: str) -> Activation | Inert:
        """An inner function begins."""
        run = self._run
        if not run.open or get_ident() != run.thread:
            return INERT
        caller, called_from = self._caller_of(sys._getframe(1))
        return Activation(run, (caller,), called_from)

    def close(self) -> None:
        """The function of this activation ends."""
        run = self._run
        if self._frame:
            run.frames.pop(self._frame, None)
        error = sys.exc_info()[1]
        if error is not None:
            trimmed(error)
        if not self._caller:
            run.close()

    # -- for the run

    def key(self, site: int) -> tuple[Any, ...]:
        """The key of a call site, now."""
        counters = self._counters
        loops = self._run.translation.loops_of[site]
        return (site, *[counters[loop] for loop in loops], *self._caller)

    def place(self, site: int, frame: FrameType | None) -> Place | None:
        """Where the run is, called from a frame at a site; None when that can't be told."""
        translation = self._run.translation
        found = scopes_of(frame, translation)
        if found is None:
            return None
        scopes, own_frame = found
        caller = None
        if self._called_from is not None:
            activation, around = self._called_from
            caller = activation.place(around, own_frame.f_back)
        counters = tuple([self._counters[loop] for loop in translation.loops_of[site]])
        return Place(site, counters, scopes, self._iterators, caller)

    def _ask(self, site: int, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        run = self._run
        if not run.open or get_ident() != run.thread:
            return _in_place(function, args, kwargs)
        result = run.outcome(self, site, function, args, kwargs)
        return result.value() if type(result) is Handle else result

    def _ask_kept(self, site: int, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        run = self._run
        if not run.open or get_ident() != run.thread:
            return _in_place(function, args, kwargs)
        return run.outcome(self, site, function, args, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # An inner function that is an argument of a functional call runs in place where it arrives.
        return _inert, ()

    def _caller_of(self, frame: FrameType) -> tuple[Any, tuple[Activation, int] | None]:
        """The key and the place of the call that began the inner function of a frame, or a fresh number."""
        run = self._run
        found = call_under_way(frame, run.translation)
        if found is not None:
            site, around = found
            caller = run.frames.get(id(around))
            if caller is not None and caller.called is not None:
                called = caller.called.get(site)
                if getattr(called, "__code__", None) is frame.f_code:
                    return caller.key(site), (caller, site)
        return run.fresh(), None


class Asking(partial[Any]):
    """What a functional function is replaced by at a site; Python's own error messages name the function."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.args[1], name)


Asking.__module__ = property(lambda self: self.args[1].__module__)  # type: ignore[assignment]


class Inert:
    """Stands for an activation where there is nothing to schedule: everything is done in place."""

    __slots__ = ()

    def call(self, site: int, function: Any) -> Any:
        """The function itself."""
        return function

    def site(self, number: int, function: Any, keeps: bool) -> Any:
        """The function itself."""
        return function

    def argument(self, number: int, value: Any) -> Any:
        """The value."""
        return value

    def force(self, value: Any) -> Any:
        """The value."""
        return value

    unbound = NameError

    def loop(self, number: int, iterable: Iterable[Any]) -> Iterable[Any]:
        """The iterable itself."""
        return iterable

    def again(self, number: int) -> bool:
        """Nothing is counted."""
        return True

    def resumed(self, sent: Any) -> Any:
        """What a yield returned."""
        return sent

    def inner(self, mark: str) -> Inert:
        """An inner function is as inert."""
        return self

    def anew(self, number: int) -> None:
        """Nothing to do."""

    def caught(self) -> None:
        """Nothing to do."""

    def unwinding(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def __reduce__(self) -> str:
        return "INERT"


INERT = Inert()


def _in_place(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*map(forced, args), **{name: forced(value) for name, value in kwargs.items()})


def _inert() -> Inert:
    return INERT
