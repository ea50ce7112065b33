"""Functional calls without processes, whose completions come in an order that a seed decides."""

from __future__ import annotations

import pickle
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from achilles.scheduling.calls import Handle, Started


class StubKept:
    """A result that stayed somewhere: each fetch is another copy."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    def value(self) -> Any:
        return pickle.loads(self.payload)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickle.loads, (self.payload,)


class StubStarted:
    """A call, run when it is its turn."""

    def __init__(self, calls: StubCalls, function: Callable[..., Any], finished: deque[Started]) -> None:
        self._calls = calls
        self.function = function
        self.payload = b""
        self._finished: deque[Started] | None = finished
        self.done = self.failed = self.cancelled = False
        self.outcome: Any = None

    def run(self) -> None:
        args, kwargs = self.load()
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the function's own
            self.finish(pickle.loads(pickle.dumps(error)), failed=True)
            return
        payload = pickle.dumps(result)
        self.finish(
            Handle(StubKept(payload)) if self._calls.keeps else pickle.loads(payload),
            failed=False,
        )

    def load(self) -> Any:
        """The arguments, as they were when the call was started."""
        return pickle.loads(self.payload)

    def finish(self, outcome: Any, *, failed: bool) -> None:
        self.outcome, self.failed, self.done = outcome, failed, True
        finished, self._finished = self._finished, None
        if finished is not None:
            finished.append(self)

    def cancel(self) -> None:
        if not self.done:
            self.cancelled = True
            self._calls.under_way.remove(self)
            self.finish(RuntimeError("cancelled"), failed=True)


class StubCalls:
    """Runs calls one by one in this process, when somebody waits, in an adversarial order.

    Args:
        seed: Decides which call is done next, and how many are done before the one that is waited for.
        slots: How many the caller is told that there are.
        keeps: Whether results are handles.

    Attributes:
        under_way: Calls that aren't done.
        started: All that were started.
        most: The most that were under way at once.
    """

    made: type[StubStarted] = StubStarted

    def __init__(self, seed: int = 0, slots: int = 4, *, keeps: bool = False) -> None:
        self.random = random.Random(seed)
        self.slots = slots
        self.keeps = keeps
        self.under_way: list[StubStarted] = []
        self.started: list[StubStarted] = []
        self.most = 0

    def start(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        finished: deque[Started],
    ) -> Started:
        started = self.made(self, function, finished)
        self.started.append(started)
        try:
            started.payload = pickle.dumps((args, kwargs))
        except Exception as error:  # noqa: BLE001 - whatever pickling raises
            started.finish(error, failed=True)
            return started
        self.under_way.append(started)
        self.most = max(self.most, len(self.under_way))
        while self.under_way and self.random.random() < 0.1:
            self._run_one()  # some are fast
        return started

    def wait(self, started: Started, finished: deque[Started]) -> None:
        while not started.done and not finished:
            assert self.under_way, "waits for a call that isn't under way"
            self._run_one()

    def _run_one(self) -> None:
        self.under_way.pop(self.random.randrange(len(self.under_way))).run()

    @contextmanager
    def provider(self) -> Iterator[StubCalls]:
        yield self
