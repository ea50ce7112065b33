"""`Executor`: a `concurrent.futures.Executor` on this machine's cores or a server's nodes."""

from __future__ import annotations

import atexit
import concurrent.futures
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..broadcast import Broadcast
from ..html_table import html_table
from .checks import check_count, check_seconds, options_of
from .iterators import ResultIterator
from .options import Options
from .pool import Pool
from .stream import Sent
from .waiting import check_wait
from .wrapping import Starred

__all__ = ["Executor", "Future"]

_log = logging.getLogger("achilles.pool")

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A `concurrent.futures.Future`, and the promise of a call of a pool."""

    #: The call on its way; set before anybody has the future.
    sent: Sent | None = None

    def cancel(self, running: bool = False) -> bool:
        """Cancel the call.

        Args:
            running: Also when it was sent to a worker. One that runs it is stopped, and another takes its
                place. The future is done soon: with `TaskCancelled` (a ``CancelledError``) as its exception,
                or with its result if that was faster.

        Returns:
            False when it is done, or was sent and may not be stopped.
        """
        if super().cancel():
            return True
        if not running or self.done() or self.sent is None:
            return False
        self.sent.give_up()
        return True

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""
        return self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> T:
        """The value. Blocks.

        Raises:
            TimeoutError: It is not there after so many seconds.
            BaseException: What the function raised.
        """
        if not self.done():
            check_wait(self)
        return super().result(timeout)

    def settle(self, value: T, error: BaseException | None) -> None:
        """Give it its result or what was raised."""
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except concurrent.futures.InvalidStateError:
            pass  # it was cancelled
        except BaseException:  # noqa: BLE001 - of a callback, in a thread of ours that others need
            _log.exception("a callback of a future raised")


class Executor(concurrent.futures.Executor):
    """Runs calls on worker processes, as `concurrent.futures.ProcessPoolExecutor`.

    Args:
        max_workers: Worker processes on this machine; as many as it has cores by default. On a cluster its
            nodes say how many workers they have, and this is not used.
        mp_context: For programs that pass one; workers are always started anew, as with "spawn".
        initializer: Called with ``initargs`` once in each worker.
        initargs: Its arguments.
        max_tasks_per_child: How many calls a worker runs before a new process takes its place.
        address: ``"local"`` for this machine's cores, or ``"host:port"`` of a server. Default: as configured.
        **more: ``host``, ``port``, ``username``, ``secret_key``, ``memory_budget`` and ``startup_timeout`` as
            of `Pool`; and the fields of `achilles.pool.options.Options` that concern single calls, for all
            calls: ``timeout``, ``retries``, ``retry_on``, ``output``, ``speculate``, ``priority``, ``nodes``,
            ``slots``.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        address: str | None = None,
        **more: Any,
    ) -> None:
        for name, count in (("max_workers", max_workers), ("max_tasks_per_child", max_tasks_per_child)):
            if count is not None:
                check_count(name, count)
        fields: dict[str, Any] = {name: more.pop(name) for name in Options.__match_args__ if name in more}
        self._options = options_of(fields)
        self._options.check_for_one()
        pool = Pool(
            max_workers, initializer, initargs, max_tasks_per_child, mp_context, address=address, **more
        )
        self._begin(pool)

    def _begin(self, pool: Pool, *, shares: bool = False) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._is_shut_down = False
        # As the standard library's executors: all calls are run to their end, also when nobody keeps the
        # executor, and the program waits for them at its own end.
        self._dropped = weakref.finalize(self, _finish_later, pool)
        self._dropped.atexit = False
        if shares:
            self._dropped.detach()
            return
        _executors.add(self)
        # The last of all, so the first that is called: before engines end.
        atexit.unregister(_end)
        atexit.register(_end)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call ``fn(*args, **kwargs)`` in a worker. Returns at once.

        Raises:
            RuntimeError: The executor was shut down.
        """
        if not callable(fn):
            raise TypeError(f"fn must be callable, not {type(fn).__name__}")
        with self._lock:
            self._check_running()
            future: Future[T] = Future()
            future.sent = self._pool.submit((fn, args, kwargs), future, self._options)
        return future

    def broadcast(self, obj: Any, copy_on_write: bool = False) -> Broadcast[Any]:
        """An object for many calls, sent once to each machine. See `achilles.Broadcast`."""
        return self._pool.broadcast(obj, copy_on_write)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Apply ``fn`` to elements of the iterables and yield the results in order.

        Starts at once; the iterables are drawn as far ahead as workers and reader keep up with.

        Args:
            fn: A function of as many arguments as there are iterables.
            *iterables: Where they come from; the shortest ends it.
            timeout: Seconds from now after which `TimeoutError` is raised when a result is not there.
            chunksize: Calls that a worker gets together.
            buffersize: Chunks that may be drawn whose results were not taken.
        """
        check_seconds("timeout", timeout)
        until_s = None if timeout is None else time.monotonic() + timeout
        if not callable(fn):
            raise TypeError(f"fn must be callable, not {type(fn).__name__}")
        with self._lock:
            self._check_running()
            options = {name: getattr(self._options, name) for name in Options.__match_args__}
            results = self._pool.imap(Starred(fn), zip(*iterables), chunksize, buffersize, **options)  # noqa: B905 - as the built-in map
        return _in_time(results, until_s)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when all are done.

        Args:
            wait: Return when they are.
            cancel_futures: Cancel the calls that were not sent to a worker.
        """
        with self._lock:
            self._is_shut_down = True
        self._dropped.detach()
        if cancel_futures:
            self._pool.cancel_waiting()
        self._pool.close()
        if wait:
            self._pool.join()
        else:
            _finish_later(self._pool)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} at {self._pool.place}>"

    def _repr_html_(self) -> str:
        return html_table(self, lambda: {**self._pool.facts(), "shut down": self._is_shut_down})

    def _check_running(self) -> None:
        self._pool.check_inherited()
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def __reduce__(self) -> tuple[Callable[..., Executor], tuple[Any, ...]]:
        return _within_task, (self._pool, self._options)


def _within_task(pool: Pool, options: Options) -> Executor:
    made = Executor.__new__(Executor)
    made._options = options
    made._begin(pool, shares=True)
    return made


def _in_time(results: ResultIterator, until_s: float | None) -> Iterator[Any]:
    try:
        while True:
            left_s = None if until_s is None else max(until_s - time.monotonic(), 0.0)
            try:
                result = results.next(left_s)
            except StopIteration:
                return
            yield result
            del result
    finally:
        results.close()


_executors: weakref.WeakSet[Executor] = weakref.WeakSet()
# Pools whose executors are gone or shut down, until their calls are done.
_finishing: set[Pool] = set()


def _finish_later(pool: Pool) -> None:
    """Have a pool end once its calls are done. Does not wait."""
    _finishing.add(pool)
    # The garbage collector may be at work in any thread, with any lock held.
    threading.Thread(target=_finish, args=(pool,), name="achilles-executor-ending", daemon=True).start()


def _finish(pool: Pool) -> None:
    try:
        pool.close()
        pool.join()
    finally:
        _finishing.discard(pool)


def _end() -> None:
    """The program ends, once all calls are done."""
    for executor in list(_executors):
        executor._is_shut_down = True
        executor._pool.finish()
    for pool in list(_finishing):
        pool.finish()


if hasattr(os, "register_at_fork"):
    # Those are the parent's.
    os.register_at_fork(after_in_child=_finishing.clear)
