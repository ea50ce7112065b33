"""`Executor`: a `concurrent.futures.Executor` on this machine's cores or a server's nodes."""

from __future__ import annotations

import atexit
import concurrent.futures
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..html_table import html_table
from .iterators import ResultIterator
from .options import Options
from .pool import Pool
from .wrapping import Starred

__all__ = ["Executor", "Future"]

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A `concurrent.futures.Future`, and the promise of a call of a pool."""

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""
        return self.set_running_or_notify_cancel()

    def settle(self, value: T, error: BaseException | None) -> None:
        """Give it its result or what was raised."""
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except concurrent.futures.InvalidStateError:
            pass  # it was cancelled


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
        fields: dict[str, Any] = {name: more.pop(name) for name in Options.__match_args__ if name in more}
        self._options = Options.of(fields)
        self._options.check_for_one()
        self._pool = Pool(
            max_workers, initializer, initargs, max_tasks_per_child, mp_context, address=address, **more
        )
        self._lock = threading.Lock()
        self._is_shut_down = False
        # As the standard library's executors, the program waits for its calls at its end.
        self._at_exit = _finish_later(self)

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
            self._pool.submit((fn, args, kwargs), future, self._options)
        return future

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
        atexit.unregister(self._at_exit)
        if cancel_futures:
            self._pool.cancel_waiting()
        self._pool.close()
        if wait:
            self._pool.join()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} at {self._pool.place}>"

    def _repr_html_(self) -> str:
        return html_table(self, lambda: {**self._pool.facts(), "shut down": self._is_shut_down})

    def _check_running(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def __reduce__(self) -> tuple[Callable[..., Executor], tuple[Any, ...]]:
        return _within_task, (self._pool, self._options)


def _within_task(pool: Pool, options: Options) -> Executor:
    made = Executor.__new__(Executor)
    made._pool, made._options = pool, options
    made._lock, made._is_shut_down = threading.Lock(), False
    made._at_exit = _finish_later(made)
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


def _finish_later(executor: Executor) -> Callable[[], None]:
    known = weakref.ref(executor)

    def finish() -> None:
        alive = known()
        if alive is not None:
            alive.shutdown()

    atexit.register(finish)
    return finish
