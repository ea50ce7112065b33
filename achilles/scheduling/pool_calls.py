"""The seam on `achilles.Pool`: functional calls are single calls of a pool.

Rules:

1. A call's arguments are serialized when it is started; foresight doesn't walk past what could change them.
   Arguments that are results that stayed at a node go as references, and the call to where the largest lies.
2. A large result stays where it was made, until neither the program nor a call under way needs it.
3. A call that is cancelled is not sent, or is stopped alone. What it made all the same is let go of.
4. A call whose arguments were lost with their node is made again when these were (`remaking`), by the thread
   that waits for a call of the same activation: what it takes may block.
5. The program's own pools are made at the first functional call, kept, and closed at exit.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..config import Settings, load_settings
from ..config_values import LOCAL
from ..errors import KeptLost
from ..kept import Kept
from ..pool import Pool
from ..task_cancelled import TaskCancelled
from .calls import Calls, Handle, Started
from .provision import Provider
from .remaking import MOST_ATTEMPTS, Made, Recipe, remake

__all__ = ["PoolCalls", "ProgramCalls", "close_program_calls", "program_calls", "provider_for"]

# A cluster's nodes come and go; its server is asked how many slots there are when this is so old.
SLOTS_AGE_S = 10.0


class PoolCalls:
    """Functional calls as calls of a pool, which stays its owner's.

    Args:
        pool: The pool.
        slots: How many of its workers to keep busy; all of them by default.

    Attributes:
        may_lose: Whether what is kept may be lost before the pool ends.
    """

    def __init__(self, pool: Pool, slots: int | None = None) -> None:
        self._pool = pool
        self._given_slots = slots
        self._slots = 1
        self._slots_asked_s = float("-inf")
        self.may_lose = pool.place != LOCAL
        self._lost: list[PoolCall] = []
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
        call = PoolCall(self, finished, Recipe.of(function, args, kwargs) if self.may_lose else None)
        self._send(call, function, args, kwargs)
        return call

    def start_again(self, recipe: Recipe, finished: deque[Started]) -> PoolCall:
        """Start a call from its recipe. What it needs and the program let go of is made first: blocks.

        Raises:
            Exception: That can't be made.
        """
        call = PoolCall(self, finished, recipe)
        self._send(call, *recipe.call(self))
        return call

    def wait(self, started: Started, finished: deque[Started]) -> None:
        """See `Calls.wait`."""
        while True:
            with self._changed:
                while True:
                    lost = [call for call in self._lost if call.finished is finished]
                    if lost or started.done or finished:
                        break
                    self._changed.wait()
                self._lost = [call for call in self._lost if call.finished is not finished]
            if not lost:
                return
            self._revive(lost)

    def _send(
        self, call: PoolCall, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Make a call, for the first time or again."""
        call.attempts += 1
        if call.recipe is not None:
            call.references = call.recipe.references()
        try:
            call.sent = self._pool.submit_kept((function, args, kwargs), call)
        except Exception as error:  # noqa: BLE001 - the pool was closed, or can't be reached: where the call stands
            call.settle(None, error)
        if call.done:
            call.sent = None

    def _revive(self, lost: list[PoolCall]) -> None:
        """Make calls again whose arguments were lost, and before that what these were."""
        open_calls = deque(lost)
        try:
            with suppress(Exception):  # each is told below
                remake(self, dict.fromkeys(each for call in lost for each in call.missing()))
            while open_calls:
                self._revive_one(open_calls[0])
                open_calls.popleft()
        except BaseException as error:  # Ctrl-C
            for call in open_calls:
                call.settle_lost(error)
            raise

    def _revive_one(self, call: PoolCall) -> None:
        recipe = call.recipe
        if recipe is None:
            return  # cancelled meanwhile
        try:
            if not call.can_hope():
                raise LookupError("all its arguments are where they were")
            remake(self, call.missing())
            made = recipe.call(self)
        except Exception as error:  # noqa: BLE001 - whatever making it raises
            call.settle_lost(error)
        else:
            self._send(call, *made)

    def note_lost(self, call: PoolCall) -> None:
        """An argument of a call was lost; its activation's thread will see to it."""
        with self._changed:
            if not call.done:
                self._lost.append(call)
                self._changed.notify_all()

    def note_done(self, call: PoolCall, outcome: Any, *, failed: bool) -> None:
        """A call is over, unless it was before."""
        with self._changed:
            if call.done:
                return
            # What the pool gave refers to the call: together they would keep the outcome until found.
            call.recipe, call.references, call.sent = None, {}, None
            call.failed, call.outcome = failed, outcome
            call.done = True
            if self._lost and call in self._lost:
                self._lost.remove(call)
            call.finished.append(call)
            self._changed.notify_all()


class PoolCall:
    """A call of a pool, as the pool's promise and as what a scheduled function waits for.

    Attributes:
        finished: Where it goes when it is done; says whose it is.
        recipe: How it is made again, until it is done.
        references: What its arguments were kept as when it was sent.
        attempts: How often it was sent.
        sent: What the pool gave for it, until it is done.
    """

    __slots__ = (
        "_calls",
        "_error",
        "attempts",
        "cancelled",
        "done",
        "failed",
        "finished",
        "outcome",
        "recipe",
        "references",
        "sent",
    )

    def __init__(self, calls: PoolCalls, finished: deque[Started], recipe: Recipe | None) -> None:
        self._calls = calls
        self._error: KeptLost | None = None
        self.finished = finished
        self.recipe = recipe
        self.references: dict[Made, Any] = {}
        self.attempts = 0
        self.cancelled = False
        self.done = self.failed = False
        self.outcome: Any = None
        self.sent: Any = None

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""
        return not self.cancelled

    def settle(self, value: Any, error: BaseException | None) -> None:
        """It is over."""
        recipe = self.recipe
        if isinstance(error, KeptLost) and recipe is not None and recipe.origins:
            self._error = error
            if self.attempts < MOST_ATTEMPTS:
                self._calls.note_lost(self)
                return
        if type(value) is Kept:
            value = Handle(value) if not self._calls.may_lose else Made(recipe, self._calls).kept_as(value)
        self._calls.note_done(self, value if error is None else error, failed=error is not None)

    def missing(self) -> list[Made]:
        """The arguments that were where the error says, and weren't made again since."""
        recipe, error = self.recipe, self._error
        if recipe is None or error is None:
            return []
        now, before, node = recipe.references(), self.references, error.fields.get("node")
        return [each for each, kept in now.items() if kept.node == node and kept is before.get(each)]

    def can_hope(self) -> bool:
        """Whether another attempt will have other arguments than the last one."""
        recipe = self.recipe
        if recipe is None:
            return False
        # What the program let go of is made anew for each attempt.
        let_go = any(each.handle is None for each in recipe.origins)
        return let_go or bool(self.missing()) or recipe.references() != self.references

    def settle_lost(self, error: BaseException) -> None:
        """What it needs can't be made again."""
        lost = self._error
        if lost is not None and error is not lost:
            lost.__cause__ = error
        self._calls.note_done(self, error if lost is None else lost, failed=True)

    def cancel(self) -> None:
        """Nobody wants the result."""
        if self.done:
            return
        self.cancelled = True
        sent = self.sent
        if sent is not None:
            sent.give_up()
        self._calls.note_done(
            self, TaskCancelled("a functional call was cancelled, whose result isn't needed"), failed=True
        )


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
