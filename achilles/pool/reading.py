"""One job, started and read by a thread for a program that has a loop.

The thread (`Reading`) starts the job, waits for its results and unpickles them; the loop's thread finds them
in an `Inbox`; whoever reads there tells the thread what was taken, so that it reads no further ahead than the
reader keeps up with. Neither refers to what the program holds, so dropping that ends all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

from ..progress_bar import Bar, bar_for
from .options import Options
from .posting import Post
from .running import Held, as_local, settled, tasks_of_value

__all__ = ["Inbox", "Part", "Reading", "collected", "failed_value", "outside_generators"]

# How many results the loop is given at once, and how often before some were taken: between two of them
# it may do something else.
PART_VALUES = 512
MOST_PARTS = 2


class Part(NamedTuple):
    """Results that belong together, what failed of them by place in that list, and their tasks.

    A value stands for ``value_tasks``: a chunk's, when chunks are reduced; the last one perhaps for fewer.
    """

    values: list[Any]
    failures: dict[int, BaseException]
    tasks: int
    value_tasks: int


class Inbox:
    """What has come for the loop, which alone touches this.

    Args:
        waiter: Makes something to await.
        fire: Ends the waiting for it, if it goes on.
    """

    def __init__(self, waiter: Callable[[], Awaitable[Any]], fire: Callable[[Any], None]) -> None:
        self._waiter = waiter
        self._fire = fire
        self._waiters: list[Awaitable[Any]] = []
        self._parts: deque[Part] = deque()
        self._error: BaseException | None = None
        self.ended = False

    def arrived(self, part: Part) -> None:
        """More results."""
        self._parts.append(part)
        self._wake()

    def over(self, error: BaseException | None) -> None:
        """There are no more."""
        self.ended = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for each in waiters:
            self._fire(each)

    async def next(self) -> Part | None:
        """The next results, or None at the end.

        Raises:
            BaseException: What ended the job, once.
        """
        while not self._parts:
            if self.ended:
                error, self._error = self._error, None
                if error is not None:
                    raise outside_generators(error)
                return None
            waiter = self._waiter()
            self._waiters.append(waiter)
            await waiter
        return self._parts.popleft()


class Reading:
    """A thread that runs a job.

    Args:
        start: Starts the job; may take long.
        post: Leads to the loop.
        inbox: Where results go.
        options: How the call is run.
        arguments: What progress is measured by.
        is_list: Whether the reader wants all results, as soon as possible, or an error of the arguments' at
            once. Else he takes them one by one, and says so.
    """

    def __init__(
        self,
        start: Callable[[], Held],
        post: Post,
        inbox: Inbox,
        options: Options,
        arguments: Any,
        *,
        is_list: bool,
    ) -> None:
        self._start: Callable[[], Held] | None = start
        self.post = post
        self._inbox = inbox
        self._progress = options.progress
        self._arguments = arguments
        self._is_list = is_list
        self.counts = False  # whether each result that is taken makes room
        self.bar: Bar | None = None
        self._held: Held | None = None
        self._cancelled = False
        self._taken: SimpleQueue[bool] = SimpleQueue()
        # Reentrant: the garbage collector may drop what reads at any moment.
        self._lock = threading.RLock()
        threading.Thread(target=self._run, name="achilles-reader", daemon=True).start()

    def took(self) -> None:
        """The reader took a part, or a result where each counts."""
        self._taken.put(True)

    def cancel(self, closed: Callable[[], Any] | None = None) -> None:
        """Drop the job, from any thread. Does not wait.

        Args:
            closed: Called in the loop's thread when that is done.
        """
        with self._lock:
            self._cancelled = True
            held = self._held
        self._taken.put(False)
        if held is not None:
            threading.Thread(
                target=self._close, args=(held, closed), name="achilles-cancel", daemon=True
            ).start()
        elif closed is not None:
            self.post.send(closed)

    def _close(self, held: Held, closed: Callable[[], Any] | None) -> None:
        held.close()
        if closed is not None:
            self.post.send(closed)

    def _run(self) -> None:
        error: BaseException | None = None
        held = None
        try:
            held = self._begin()
            self._read(held)
        except BaseException as raised:  # noqa: BLE001 - whatever it is, who waits is told
            error = as_local(raised)
        finally:
            if held is not None:
                held.close()
            with self._lock:
                self._held = None  # and with it the iterable, which may be waiting to be closed
            held = None
        self.post.send(self._inbox.over, error)

    def _begin(self) -> Held:
        start, self._start = self._start, None
        assert start is not None
        self.bar = bar_for(self._progress, self._arguments, flat=True)
        self._arguments = None
        held = start()
        # Before the reader can take anything.
        self.counts = held.job.spec.most_ahead is not None
        with self._lock:
            self._held = held
            cancelled = self._cancelled
        if cancelled:
            held.close()
        return held

    def _read(self, held: Held) -> None:
        job, spec = held.job, held.job.spec
        parts_out = 0
        while True:
            # As `map` does, an error of the arguments' is told before the results of those before it.
            parcel = job.next_parcel(unless=job.has_input_error if self._is_list else None)
            if self._is_list:
                job.raise_input_error()
            if parcel is None:
                return
            values, failures = held.values_of(parcel)
            number, tasks, each = parcel.number, parcel.tasks, tasks_of_value(parcel, spec)
            parcel = None
            if self._is_list or self.counts:
                self.post.send(self._inbox.arrived, Part(values, failures, tasks, each))
                while self.counts and tasks:
                    if not self._taken.get():
                        return
                    taken = min(each, tasks)
                    tasks -= taken
                    job.taken(number, taken)
                continue
            for start in range(0, len(values), PART_VALUES):
                while parts_out >= MOST_PARTS:
                    if not self._taken.get():
                        return
                    parts_out -= 1
                parts_out += 1
                some = values[start : start + PART_VALUES]
                end = start + len(some)
                failed = {place - start: failures[place] for place in failures if start <= place < end}
                some_tasks = min(each * end, tasks) - each * start
                self.post.send(self._inbox.arrived, Part(some, failed, some_tasks, each))


async def collected(inbox: Inbox, reading: Reading, options: Options) -> list[Any]:
    """All results in order. Callbacks are called here.

    Raises:
        BaseException: As `Pool.map`.
    """
    results: list[Any] = []
    failure: BaseException | None = None
    while (part := await inbox.next()) is not None:
        values = part.values
        if reading.bar is not None:
            reading.bar.update(part.tasks)
        if part.failures:
            failure = failure or next(iter(part.failures.values()))
            values = settled(values, part.failures, options)
        results += values
    if failure is not None and options.on_error == "raise":
        raise outside_generators(as_local(failure))
    return results


def failed_value(failure: BaseException, options: Options) -> tuple[bool, Any]:
    """What becomes of an item that failed, in an iteration: whether the reader gets a value, and that.

    Raises:
        BaseException: The failure, if it is to be raised.
    """
    failure = as_local(failure)
    if options.error_callback is not None:
        options.error_callback(failure)
    if options.on_error == "raise":
        raise outside_generators(failure)
    return options.on_error == "return", failure


def outside_generators(error: BaseException) -> BaseException:
    """The error, as a coroutine can raise it."""
    if isinstance(error, StopIteration | StopAsyncIteration):
        made = RuntimeError(f"a function of the job raised {type(error).__name__}")
        made.__cause__ = error
        return made
    return error
