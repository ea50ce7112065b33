"""The seam on `achilles.Pool`: functional calls are single calls of a pool.

Rules:

1. A call's arguments are serialized when it is started: later changes are not seen.
2. A call that is cancelled is not sent, or is stopped alone.
3. The program's own pools are made at the first functional call, kept, and closed at exit.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..config import Settings, load_settings
from ..kept import Kept
from ..pool import Pool
from ..task_cancelled import TaskCancelled
from .calls import Calls, Handle, Started
from .provision import Provider

__all__ = ["PoolCalls", "ProgramCalls", "close_program_calls", "program_calls", "provider_for"]

# A cluster's nodes come and go; its server is asked how many slots there are when this is so old.
SLOTS_AGE_S = 10.0


class PoolCalls:
    """Functional calls as calls of a pool, which stays its owner's.

    Args:
        pool: The pool.
        slots: How many of its workers to keep busy; all of them by default.
    """

    def __init__(self, pool: Pool, slots: int | None = None) -> None:
        self._pool = pool
        self._given_slots = slots
        self._slots = 1
        self._slots_asked_s = float("-inf")
        self._changed = threading.Condition()

    @property
    def slots(self) -> int:
        """How many calls run at once."""
        if self._given_slots is not None:
            return self._given_slots
        now_s = time.monotonic()
        if now_s - self._slots_asked_s > SLOTS_AGE_S:
            self._slots_asked_s = now_s
            workers = self._pool.facts()["workers"]
            if not isinstance(workers, int):
                workers = self._pool.status()["workers"]  # of a cluster
            self._slots = max(int(workers), 1)
        return self._slots

    def start(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        finished: deque[Started],
    ) -> Started:
        """See `Calls.start`."""
        call = PoolCall(self._changed, finished)
        try:
            call.went(self._pool.submit_kept((function, args, kwargs), call))
        except Exception as error:  # noqa: BLE001 - the pool was closed, or can't be reached: where the call stands
            call.settle(None, error)
        return call

    def wait(self, started: Started, finished: deque[Started]) -> None:
        """See `Calls.wait`."""
        with self._changed:
            while not started.done and not finished:
                self._changed.wait()


class PoolCall:
    """A call of a pool, as the pool's promise and as what a scheduled function waits for.

    When it is over it refers to nothing that refers to it: a large result goes with the last use of it, not
    when the garbage collector comes.
    """

    __slots__ = ("_changed", "_finished", "_sent", "cancelled", "done", "failed", "outcome")

    def __init__(self, changed: threading.Condition, finished: deque[Started]) -> None:
        self._changed = changed
        self._finished: deque[Started] | None = finished
        self._sent: Any = None
        self.cancelled = False
        self.done = self.failed = False
        self.outcome: Any = None

    def went(self, sent: Any) -> None:
        """It was given to the pool."""
        with self._changed:
            if not self.done:
                self._sent = sent

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""
        return not self.cancelled

    def settle(self, value: Any, error: BaseException | None) -> None:
        """It is over."""
        with self._changed:
            if self.done:
                return
            self.failed = error is not None
            self.outcome = error if error is not None else Handle(value) if type(value) is Kept else value
            self.done = True
            finished, self._finished, self._sent = self._finished, None, None
            if finished is not None:
                finished.append(self)
            self._changed.notify_all()

    def cancel(self) -> None:
        """Nobody wants the result."""
        if self.done:
            return
        self.cancelled = True
        sent = self._sent
        if sent is not None:
            sent.give_up()
        self.settle(None, TaskCancelled("a functional call was cancelled, whose result isn't needed"))


class ProgramCalls:
    """Calls on a pool of the program's own, which is made at the first call.

    Args:
        settings: Where it runs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._calls: PoolCalls | None = None

    @property
    def slots(self) -> int:
        """How many calls run at once."""
        return self._made().slots

    def start(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        finished: deque[Started],
    ) -> Started:
        """See `Calls.start`."""
        return self._made().start(function, args, kwargs, finished)

    def wait(self, started: Started, finished: deque[Started]) -> None:
        """See `Calls.wait`."""
        self._made().wait(started, finished)

    def close(self) -> None:
        """End the pool; the next call makes another."""
        with self._lock:
            pool, self._pool, self._calls = self._pool, None, None
        if pool is not None:
            pool.terminate()
            pool.join()

    def _made(self) -> PoolCalls:
        calls = self._calls
        if calls is None:
            with self._lock:
                if self._calls is None:
                    settings = self._settings
                    if settings.is_local:
                        self._pool = Pool(address=settings.address)
                    else:
                        self._pool = Pool(
                            host=settings.host,
                            port=settings.port,
                            username=settings.username,
                            secret_key=settings.secret_key,
                            memory_budget=settings.memory_budget,
                        )
                    self._calls = PoolCalls(self._pool)
                calls = self._calls
        return calls


_kept: dict[tuple[Any, ...], ProgramCalls] = {}
_lock = threading.Lock()


def program_calls(settings: Settings) -> Calls:
    """The program's own calls for some settings: made at first need, kept, and closed at exit."""
    key = (os.getpid(), *settings[:-1])
    with _lock:
        calls = _kept.get(key)
        if calls is None:
            if not _kept:
                atexit.register(close_program_calls)
            calls = _kept[key] = ProgramCalls(settings)
    return calls


def close_program_calls() -> None:
    """End the program's own pools. Those that are needed again are made anew."""
    with _lock:
        kept = {key: calls for key, calls in _kept.items() if key[0] == os.getpid()}
        _kept.clear()
    for calls in kept.values():
        calls.close()


def provider_for(pool: Pool | None, address: str | None) -> Provider:
    """Who runs the calls of a scheduled function: a pool, or the program's own for an address."""
    if pool is None:
        return _program_provider(address)
    calls = PoolCalls(pool)

    @contextmanager
    def given() -> Iterator[Calls]:
        yield calls

    return given


_providers: dict[str | None, Provider] = {}


def _program_provider(address: str | None) -> Provider:
    """One for all functions with this address, so that those that call each other share what it gives."""
    if address not in _providers:

        @contextmanager
        def configured() -> Iterator[Calls]:
            yield program_calls(load_settings(address=address))

        _providers[address] = configured
    return _providers[address]
