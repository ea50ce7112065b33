"""Calls on slots that exist only in a log: which calls were under way together, without time and threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dill as pickle

import achilles


class StubStarted:
    """A call on a stub; it is evaluated when the stub completes it."""

    def __init__(self, label: str, pickled: bytes, finished: deque[Any]) -> None:
        self.label = label
        self.pickled = pickled
        self.finished = finished
        self.done = self.failed = self.cancelled = False
        self.outcome: Any = None

    def cancel(self) -> None:
        self.cancelled = True

    def complete(self, told: bool = True) -> None:
        try:
            function, args, kwargs = pickle.loads(self.pickled)
            self.outcome = pickle.loads(pickle.dumps(function(*args, **kwargs)))
        except Exception as error:  # noqa: BLE001 - whatever the function raises
            self.outcome, self.failed = error, True
        self.done = True
        if told:
            self.finished.append(self)


class StubCalls:
    """Runs the first calls that were started on so many slots, and completes the oldest when somebody waits.

    Args:
        slots: How many run at once.
        newest_first: Whether the newest is completed instead.
        tells_late: Whether a call is done some time before that is said in ``finished``, as with threads.

    Attributes:
        slots: How many run at once.
        running: Calls that run now, oldest first.
        waiting: Started, but no slot was free.
        log: ("start" | "run" | "done" | "cancel", label) in the order in which it happened.
        widths: How many slots were busy, each time that somebody waited.
    """

    def __init__(self, slots: int = 8, newest_first: bool = False, tells_late: bool = False) -> None:
        self.slots = slots
        self.newest_first = newest_first
        self.untold: list[StubStarted] | None = [] if tells_late else None
        self.running: list[StubStarted] = []
        self.waiting: deque[StubStarted] = deque()
        self.log: list[tuple[str, str]] = []
        self.widths: list[int] = []
        self.started = 0
        self.most_under_way = 0
        self.keep_log = True

    def start(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], finished: deque[Any]
    ) -> Any:
        label = f"{function.__name__}({', '.join(map(short, args))})" if self.keep_log else ""
        call = StubStarted(label, pickle.dumps((function, args, kwargs)), finished)
        self.started += 1
        self._note("start", label)
        self.waiting.append(call)
        self._fill()
        self.most_under_way = max(self.most_under_way, len(self.running) + len(self.waiting))
        return call

    def wait(self, started: Any, finished: deque[Any]) -> None:
        self.widths.append(len(self.running))
        for each in self.untold or ():
            each.finished.append(each)
        if self.untold:
            self.untold.clear()
        while not started.done and not finished:
            self._complete_one()

    def _complete_one(self) -> None:
        call = self.running.pop(-1 if self.newest_first else 0)
        if not call.cancelled:
            call.complete(self.untold is None)
            if self.untold is not None:
                self.untold.append(call)
        self._note("cancel" if call.cancelled else "done", call.label)
        self._fill()

    def _fill(self) -> None:
        while self.waiting and len(self.running) < self.slots:
            call = self.waiting.popleft()
            if call.cancelled:
                continue
            self.running.append(call)
            self._note("run", call.label)

    def _note(self, what: str, label: str) -> None:
        if self.keep_log:
            self.log.append((what, label))

    @contextmanager
    def provider(self) -> Iterator[StubCalls]:
        yield self

    # -- questions

    def overlapped(self, one: str, other: str) -> bool:
        """Whether two calls ran at the same time."""
        spans = []
        for label in (one, other):
            assert ("run", label) in self.log, f"{label} never ran: {self.log}"
            begin = self.log.index(("run", label))
            end = self.log.index(("done", label)) if ("done", label) in self.log else len(self.log)
            spans.append((begin, end))
        (a, b), (c, d) = spans
        return a < d and c < b

    def before(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """Whether one thing happened before another."""
        return self.log.index(one) < self.log.index(other)

    def ran(self) -> list[str]:
        return [label for what, label in self.log if what == "run"]


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 30 else text[:27] + "..."


def run(function: Callable[..., Any], *args: Any, slots: int = 8, pure: Any = (), **options: Any) -> Any:
    """Run a function scheduled, on a stub, and check it against plain execution; returns the stub."""
    calls = StubCalls(slots, **options)
    scheduled = achilles.schedule(function, calls=calls.provider, pure=pure)
    plain: Any
    try:
        plain = ("result", function(*pickle.loads(pickle.dumps(args))))
    except Exception as error:  # noqa: BLE001 - whatever it raises
        plain = ("error", type(error), error.args)
    try:
        found: Any = ("result", scheduled(*pickle.loads(pickle.dumps(args))))
    except Exception as error:  # noqa: BLE001 - whatever it raises
        found = ("error", type(error), error.args)
    assert repr(found) == repr(plain)
    return calls
