"""`Pool`: `multiprocessing.Pool`, method for method, on this machine's cores or a server's nodes."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..broadcast import Broadcast
from ..config_values import LOCAL
from ..engines.interrupts import shielded
from ..engines.iterables import iterate
from ..progress_bar import bar_for
from .call_sources import Call, serialized
from .checks import arguments_of, check_count, check_pool, checked_iterable, options_of
from .iterators import ResultIterator
from .jobs import Jobs
from .life import CLOSE, RUN, TERMINATE, PoolLife
from .options import Options
from .place import Place, settings_of
from .results import AsyncResult, MapResult
from .running import Held, all_values, as_local
from .stream import Promise, Sent
from .wrapping import Setup, Starred

__all__ = ["CLOSE", "RUN", "TERMINATE", "Pool"]

# By token, so that a pool that comes back pickled is itself, and one for all tasks of a worker.
_alive: weakref.WeakValueDictionary[str, Pool] = weakref.WeakValueDictionary()
_within_tasks: dict[str, Pool] = {}


def pool_within_task(token: str, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> Pool:
    """A pool that was pickled: itself in its own process, else one on the worker's share of the cores."""
    pool = _alive.get(token)
    if pool is None:
        pool = _within_tasks[token] = Pool(None, initializer, initargs, address=LOCAL)
        _alive[token] = pool
    return pool


class Pool(PoolLife):
    """Worker processes to run functions on, as `multiprocessing.pool.Pool`.

    Every method of the standard library's pool is there, with its arguments, results, exceptions and order.
    What is new stands behind a ``*``: where the pool runs, and for each call the fields of
    `achilles.pool.options.Options` (``timeout``, ``retries``, ``on_error``, ``progress``, …).

    Args:
        processes: Worker processes on this machine; as many as it has cores by default. On a cluster its
            nodes say how many workers they have, and this is not used.
        initializer: Called with ``initargs`` once in each worker, before it runs anything of this pool.
        initargs: Its arguments.
        maxtasksperchild: How many chunks of this pool a worker runs before a new process takes its place.
        context: For programs that pass one; workers are always started anew, as with "spawn".
        address: ``"local"`` for this machine's cores, or ``"host:port"`` of a server. Default: as configured.
        host: The server's host; together with ``port`` another way to say ``address``.
        port: The server's port.
        username: Who asks, for the server.
        secret_key: The server's secret key.
        memory_budget: See `achilles.map`.
        startup_timeout: Seconds to wait for a node when the server has none; None: for ever.

    Raises:
        ValueError, TypeError: An argument is wrong.
        ConfigError: A setting is.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        address: str | None = None,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        secret_key: str | None = None,
        memory_budget: int | str | None = None,
        startup_timeout: float | None = 60.0,
    ) -> None:
        check_pool(processes, initializer, maxtasksperchild, startup_timeout)
        self._initializer = initializer
        self._initargs = tuple(checked_iterable("initargs", initargs))
        self._token = uuid.uuid4().hex
        setup = None if initializer is None else Setup(self._token, initializer, self._initargs)
        place = Place(processes, settings_of(host, port, username, secret_key, address, memory_budget))
        super().__init__(place, Jobs(place, self._token, setup, maxtasksperchild, startup_timeout))
        _alive[self._token] = self

    # -- calls that block

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Call ``func(*args, **kwds)`` in a worker and return its result. Blocks."""
        if options:
            return self.apply_async(func, args, kwds, **options).get()
        self._check_running()
        _check_callable(func)
        return self._run_one((func, *arguments_of(args, kwds)))

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        **options: Any,
    ) -> list[Any]:
        """Apply ``func`` to every argument and return the results in order. Blocks.

        Args:
            func: The function of one argument.
            iterable: The arguments, drawn as far as there is room. A list in it is an argument as any other.
            chunksize: Arguments that a worker gets together. None: chosen by what is measured.
            **options: See `achilles.pool.options.Options`.

        Raises:
            BaseException: What the first item raised that failed, when all are done; or what the iterable
                raised.
        """
        return self._map(func, iterable, chunksize, options)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        **options: Any,
    ) -> list[Any]:
        """As `map`, for a function of several arguments: each element holds them."""
        return self._map(_starred(func), iterable, chunksize, options)

    # -- calls that return at once

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """As `apply`, without waiting. Callbacks run in a thread of this process."""
        self._check_running()
        _check_callable(func)
        chosen = options_of(options)
        if options:
            chosen.check_for_one()
        call = (func, *arguments_of(args, kwds))
        result = AsyncResult(callback, error_callback, keep=self)
        self.submit(call, result, chosen)
        return result

    def keep_async(
        self,
        function: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """As `apply_async`, with a result that stays where it is made if it is large.

        Arguments are serialized at once, and held so until the call is sent: later changes are not seen. The
        call runs where its largest `Kept` argument lies, on the node that keeps it.

        Args:
            function: Called with ``*args, **kwargs``; for handles in them, however deep, it gets the values.
            args: Its arguments.
            kwargs: Its keyword arguments.
            callback: Called with the result or the handle, in a thread of this process.
            error_callback: Called with what was raised, likewise.

        Returns:
            What to wait for. Its value is an `achilles.Kept` when the serialized result has 64 KiB or more
            and there is room for it there, else the result. An argument that is gone raises `KeptLost`.
        """
        self._check_running()
        _check_callable(function)
        result = AsyncResult(callback, error_callback, keep=self)
        self.submit_kept((function, *arguments_of(args, kwargs)), result)
        return result

    def submit_kept(self, call: Call, promise: Promise) -> Sent | None:
        """Make a call whose result stays where it is made, and is given to a promise, as by `keep_async`.

        Returns:
            The call; None if it couldn't be serialized, which the promise was told.
        """
        self._check_running()
        try:
            written = serialized([call])
        except Exception as error:  # noqa: BLE001 - pickling runs the caller's code
            promise.settle(None, as_local(error))
            return None
        with shielded():
            return self._jobs.streams.keep(written, promise)

    def submit(self, call: Call, promise: Promise, options: Options) -> Sent:
        """Make a call whose result is given to a promise: what the faces of a pool are made of."""
        self._check_running()
        # Ctrl-C in the middle of this would leave a call behind that nobody makes, and all wait for.
        with shielded():
            return self._jobs.streams.add(options, call, promise)

    def start(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        options: Options,
        *,
        ordered: bool = True,
        most_ahead: int | None = None,
    ) -> Held:
        """Start a job that its caller reads: what the other faces of a pool are made of."""
        self._check_running()
        return self._jobs.start(func, iterable, chunksize, options, ordered=ordered, most_ahead=most_ahead)

    def cancel_waiting(self) -> None:
        """Cancel the futures of calls that were not sent."""
        self._jobs.streams.cancel_waiting(lambda promise: promise.cancel())

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        **options: Any,
    ) -> MapResult:
        """As `map`, without waiting. The iterable is read at once; callbacks run in a thread of the pool."""
        self._check_running()
        _check_callable(func)
        result = MapResult(callback, error_callback, keep=self)
        arguments = iterable if isinstance(iterable, list | tuple | range) else list(iterate(iterable))
        chosen = options_of(options)
        bar = bar_for(chosen.progress, arguments, flat=True)
        with shielded():
            held = self._jobs.start(func, arguments, chunksize, chosen, feed=False)
            self._jobs.background.run(result, lambda: all_values(held, chosen, bar))
        return result

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
        **options: Any,
    ) -> MapResult:
        """As `starmap`, without waiting."""
        return self.map_async(_starred(func), iterable, chunksize, callback, error_callback, **options)

    # -- iterators

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = 1,
        buffersize: int | None = None,
        **options: Any,
    ) -> ResultIterator:
        """Apply ``func`` to every argument and yield the results in order, as they are done.

        Arguments are drawn in a thread of this process, as far ahead as workers and reader keep up with.

        Args:
            func: The function of one argument.
            iterable: The arguments.
            chunksize: Arguments that a worker gets together.
            buffersize: Chunks that may be drawn whose results were not taken, as CPython 3.16 has it; closing
                the pool ends the drawing then.
            **options: See `achilles.pool.options.Options`.
        """
        return self._imap(func, iterable, chunksize, buffersize, options, ordered=True)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = 1,
        buffersize: int | None = None,
        **options: Any,
    ) -> ResultIterator:
        """As `imap`, with results as they come."""
        return self._imap(func, iterable, chunksize, buffersize, options, ordered=False)

    def broadcast(self, obj: Any, copy_on_write: bool = False) -> Broadcast[Any]:
        """An object for many calls, sent once to each machine, and one copy there for all workers.

        Args:
            obj: What may be pickled; arrays are views of shared memory in the workers.
            copy_on_write: Let tasks write to arrays, each worker to its own copy of a page. Else they are
                read-only.

        Returns:
            A handle to pass on, whose ``value`` is the object. See `achilles.Broadcast`.
        """
        return Broadcast(obj, copy_on_write=copy_on_write)

    def __reduce__(self) -> tuple[Callable[..., Pool], tuple[Any, ...]]:
        # Not where it is, nor the key to it: a task's own pool runs on its worker's share of the cores.
        return pool_within_task, (self._token, self._initializer, self._initargs)

    def _run_one(self, call: Call) -> Any:
        """Make a call, and wait for its result."""
        if not self._jobs.replaces_workers:
            with shielded():
                outcome = self._jobs.streams.run_now(Options(), call)
            if outcome is not None:
                value, error = outcome
                if error is not None:
                    raise error
                return value
        func, args, kwds = call
        return self.apply_async(func, args, kwds).get()

    def _map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        options: dict[str, Any],
    ) -> list[Any]:
        self._check_running()
        if isinstance(iterable, list | tuple) and len(iterable) == 1 and not options and callable(func):
            if chunksize is not None:
                check_count("chunksize", chunksize)
            return [self._run_one((func, (iterable[0],), {}))]
        chosen = options_of(options)
        bar = bar_for(chosen.progress, iterable, flat=True)
        # From here on, so that no job is begun that Ctrl-C keeps from being read.
        with shielded():
            held = self._jobs.start(func, iterable, chunksize, chosen, feed=False)
            return all_values(held, chosen, bar)

    def _imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        buffersize: int | None,
        options: dict[str, Any],
        *,
        ordered: bool,
    ) -> ResultIterator:
        self._check_running()
        most_ahead = tasks_ahead(buffersize, chunksize)
        chosen = options_of(options)
        bar = bar_for(chosen.progress, iterable, flat=True)
        with shielded():
            held = self._jobs.start(func, iterable, chunksize, chosen, ordered=ordered, most_ahead=most_ahead)
            return ResultIterator(held, chosen, bar, keep=self)


def _starred(func: Callable[..., Any]) -> Starred:
    _check_callable(func)
    return Starred(func)


def tasks_ahead(buffersize: Any, chunksize: int | None) -> int | None:
    """How many tasks may be drawn whose results were not taken.

    Raises:
        TypeError, ValueError: ``buffersize`` is not a number of chunks.
    """
    if buffersize is None:
        return None
    check_count("buffersize", buffersize)
    if chunksize is not None:
        check_count("chunksize", chunksize)
    return int(buffersize) * (chunksize or 1)


def _check_callable(func: Any) -> None:
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__}")
