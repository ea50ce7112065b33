"""Ctrl-C where it can do no harm: between the steps of a call, never in the middle of one.

Python runs a signal's function in the main thread, between any two of its instructions, and what that
function raises goes on from there. Raised while an engine's state is half changed, or a lock just
taken, it would leave behind an engine that waits for ever or forgets items, and later calls would use
it. So within `shielded` a signal is only noted, and its own function is called where that is left, or
within `opened`: where this thread waits, or runs code of the caller's, which may take as long as it
likes. The idea is that of trio's protection from ``KeyboardInterrupt`` (its documentation, "Ctrl-C and
the Trio core"), for threads instead of tasks.

Knows: which signals the program has functions for, while a call is under way. Rules:

1. Only the main thread is ever interrupted; in others both do nothing.
2. The program's own functions are in place again whenever no call is on the stack, so whoever looks at
   them (asyncio does) finds what was there before, and one that a call's own code has set stays.
3. What a signal's function raises within `opened` closes that: what cleans up is not interrupted again.
4. Of what is raised within a finalizer Python prints a note, and the program goes on. So there (`finalizing`)
   a signal is put off until that is over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any

__all__ = ["WAIT_S", "finalizing", "opened", "shielded"]

# A signal that comes just before a wait begins does not end it: no wait in `opened` should be longer.
WAIT_S = 0.25

# Within that a finalizer has returned which is at its end.
FINALIZED_S = 0.005

# Those that programs turn into exceptions.
_SIGNALS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGALRM") if (number := getattr(signal, name, None)) is not None
)
# What `signal` wraps, where there is such a thing: its conversions take longer than all the rest.
_native: Any = sys.modules.get("_signal", signal)
_getsignal: Callable[[int], Any] = _native.getsignal
_setsignal: Callable[[int, Any], Any] = _native.signal

# Asked for some ten times in a call. A child has the thread that forked for its main one.
_main_thread = threading.main_thread().ident


def _forked() -> None:
    global _main_thread
    _main_thread = get_ident()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

# All of this belongs to the main thread.
_functions: dict[int, Callable[[int, FrameType | None], Any]] = {}  # the program's own
_closed: list[bool] = []  # for each `shielded` and `opened` that the thread is in: whether signals wait
_noted: list[int] = []
_finalizes = False


def _note(number: int, frame: FrameType | None) -> None:
    """What is called for a signal during a call."""
    function = _functions.get(number)
    if function is None or not _closed or _closed[-1]:
        _noted.append(number)
        return
    place = len(_closed) - 1
    _closed[place] = True
    function(number, frame)
    _closed[place] = False


class shielded:  # noqa: N801 - as contextlib.closing
    """Within this block, signals are noted; what was noted is raised where it ends."""

    __slots__ = ("_depth",)

    def __enter__(self) -> None:
        self._depth = -1
        if get_ident() != _main_thread:
            return
        if not _functions:
            _closed.clear()
            try:
                for number in _SIGNALS:
                    function = _getsignal(number)
                    if callable(function) and function is not _note:
                        _functions[number] = function
                        _setsignal(number, _note)
            except BaseException:  # what a function raised that was about to be replaced
                self._leave()
                raise
        self._depth = len(_closed)
        _closed.append(True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._depth > 0:
            del _closed[self._depth :]
            if not _closed[-1]:
                _raise_noted()
        elif self._depth == 0:
            self._leave()

    def _leave(self) -> None:
        functions = dict(_functions)
        _functions.clear()
        _put_back(functions)
        _closed.clear()
        _raise_noted()


class opened:  # noqa: N801 - as contextlib.closing
    """Within this block, signals are raised as they come, also those that were noted before it."""

    __slots__ = ("_depth",)

    def __enter__(self) -> None:
        self._depth = -1
        if not _functions or get_ident() != _main_thread:
            return
        self._depth = len(_closed)
        _closed.append(False)
        if _noted:
            _raise_noted()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._depth >= 0:
            # What an interrupted entry left behind goes as well.
            del _closed[self._depth :]


class finalizing:  # noqa: N801 - as contextlib.closing
    """Within this block, which is all that a ``__del__`` does, signals are put off until it has returned."""

    __slots__ = ("_outermost",)

    def __enter__(self) -> None:
        global _finalizes
        self._outermost = get_ident() == _main_thread and not _finalizes
        _finalizes = _finalizes or self._outermost

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        global _finalizes
        if not self._outermost:
            return False
        _finalizes = False
        if kind is not None and issubclass(kind, KeyboardInterrupt):  # between the steps of what was done
            _raise_later([signal.SIGINT])
            return True
        return False


def _raise_later(numbers: list[int]) -> None:
    main = _main_thread
    assert main is not None

    def deliver() -> None:
        time.sleep(FINALIZED_S)
        for number in numbers:
            signal.pthread_kill(main, number)  # so that a wait ends, too

    threading.Thread(target=deliver, name="achilles-interrupt", daemon=True).start()


def _put_back(functions: dict[int, Callable[[int, FrameType | None], Any]]) -> None:
    try:
        # The first last: once it is back, Ctrl-C may interrupt this.
        while functions:
            number, function = functions.popitem()
            if _getsignal(number) is _note:
                _setsignal(number, function)
    finally:
        if functions:
            _put_back(functions)


def _raise_noted() -> None:
    if _finalizes and _noted:
        _raise_later(_noted[:])
        _noted.clear()
    while _noted:
        signal.raise_signal(_noted.pop(0))
