"""For Twisted programs: `achilles.Pool` with Deferreds.

::

    from achilles.deferreds import DeferredPool

    pool = DeferredPool()
    pool.map(func, arguments).addCallback(print)

Whatever may take long (starting workers, connecting to a server, drawing and serializing arguments) is done
in other threads. Deferreds are fired, and callbacks called, in the reactor's thread; call all of this there,
too. Cancelling a Deferred cancels its job.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from .html_table import html_table
from .pool.front import Asked, Front, Waiting, chosen, one_call, starred
from .pool.options import Options
from .pool.pool import CLOSE, TERMINATE
from .pool.posting import Post, beside
from .pool.reading import Inbox, Reading, collected, failed_value
from .pool.results import tell

__all__ = ["DeferredPool"]

#: Called with each result; if it returns a Deferred, the next result waits for that.
Receive = Callable[[Any], Any]


class DeferredPool:
    """Worker processes to run functions on, for a program with a reactor.

    Its workers start with the first call. They end with `close`, `terminate` or the process.

    Args:
        processes: As of `achilles.Pool`, and so are the others.
        reactor: Where Deferreds are fired; Twisted's own by default.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        reactor: Any = None,
        address: str | None = None,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        secret_key: str | None = None,
        memory_budget: int | str | None = None,
        startup_timeout: float | None = 60.0,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        where = {
            "address": address,
            "host": host,
            "port": port,
            "username": username,
            "secret_key": secret_key,
            "memory_budget": memory_budget,
            "startup_timeout": startup_timeout,
        }
        self._front = Front(processes, initializer, initargs, maxtasksperchild, where)
        self._post = Post(reactor.callFromThread)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__module__}.{type(self).__name__} {self._front.place} state={self._front.state}>"
        )

    def _repr_html_(self) -> str:
        return html_table(self, self._front.facts)

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Deferred[Any]:
        """Call ``func(*args, **kwds)`` in a worker; fires with its result.

        Cancelled before it was sent, the call is not made. If it runs, its worker is stopped.
        """
        call, made = one_call(func, args, kwds, options)

        def done(value: Any, error: BaseException | None) -> None:
            if error is None:
                result.callback(value)
            else:
                tell(made.error_callback, error)
                result.errback(error)

        waiting = Waiting(self._post, done)
        result: Deferred[Any] = Deferred(lambda _: self._front.give_up(waiting))
        self._front.expect()
        self._front.call(call, made, waiting)
        return result

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        **options: Any,
    ) -> Deferred[list[Any]]:
        """Apply ``func`` to every argument; fires with the results in order.

        Args:
            func: The function of one argument.
            iterable: The arguments, drawn in a thread.
            chunksize: Arguments that a worker gets together. None: chosen by what is measured.
            **options: See `achilles.pool.options.Options`. Callbacks are called in the reactor's thread.
        """
        made, _ = chosen(func, chunksize, options)
        inbox, reading = self._begin((func, iterable, chunksize, made, True, None), is_list=True)
        return ensureDeferred(self._ending(inbox, reading, collected(inbox, reading, made)))

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        **options: Any,
    ) -> Deferred[list[Any]]:
        """As `map`, for a function of several arguments: each element holds them."""
        return self.map(starred(func), iterable, chunksize, **options)

    def each(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        receive: Receive,
        chunksize: int | None = 1,
        buffersize: int | None = None,
        *,
        ordered: bool = True,
        **options: Any,
    ) -> Deferred[None]:
        """Apply ``func`` to every argument and call ``receive`` with each result, in the reactor's thread.

        Arguments are drawn as far ahead as workers and ``receive`` keep up with; the iterable may be endless.

        Args:
            func: The function of one argument.
            iterable: The arguments, drawn in a thread.
            receive: Called with one result after the other. When it returns a Deferred, the next one waits
                until that has fired. What it raises, or that fails with, ends the job.
            chunksize: Arguments that a worker gets together.
            buffersize: Chunks that may be drawn whose results were not received.
            ordered: In the order of the arguments. Else as they come.
            **options: See `achilles.pool.options.Options`. With ``on_error="raise"`` the first item that
                failed ends the job.

        Returns:
            Fires with None when all were received.
        """
        made, most_ahead = chosen(func, chunksize, options, buffersize)
        asked = (func, iterable, chunksize, made, ordered, most_ahead)
        inbox, reading = self._begin(asked, is_list=False)
        return ensureDeferred(self._ending(inbox, reading, _received(inbox, reading, made, receive)))

    def close(self) -> Deferred[None]:
        """Take no more calls; fires when all that was asked for is done and the workers are gone."""
        self._front.leave(CLOSE)

        def end() -> None:
            self._front.close()
            self._front.join()

        return self._beside(end)

    def terminate(self) -> Deferred[None]:
        """End the workers at once; fires when they are gone. Deferreds of calls fail with `TaskCancelled`."""
        self._front.leave(TERMINATE)
        return self._beside(self._front.terminate)

    def _beside(self, work: Callable[[], None]) -> Deferred[None]:
        # It is done even if nobody waits for it any more.
        result: Deferred[None] = Deferred()

        def done(value: Any, error: BaseException | None) -> None:
            if error is None:
                result.callback(value)
            else:
                result.errback(error)

        beside(self._post, work, done)
        return result

    def _begin(self, asked: Asked, *, is_list: bool) -> tuple[Inbox, Reading]:
        self._front.expect()
        front = self._front
        inbox = Inbox(Deferred, _fire)
        return inbox, Reading(
            lambda: front.start(asked), self._post, inbox, asked[3], asked[1], is_list=is_list
        )

    async def _ending(self, inbox: Inbox, reading: Reading, work: Coroutine[Any, Any, Any]) -> Any:
        """Do what reads a job; if that ends first, for whatever reason, cancel the job."""
        try:
            return await work
        finally:
            if reading.bar is not None:
                reading.bar.close()
            if not inbox.ended:
                reading.cancel()


async def _received(inbox: Inbox, reading: Reading, options: Options, receive: Receive) -> None:
    while (part := await inbox.next()) is not None:
        values, failures, untaken_tasks = part.values, part.failures, part.tasks
        for place, value in enumerate(values):
            values[place] = None
            if reading.counts:
                reading.took()
            if reading.bar is not None:
                tasks = min(part.value_tasks, untaken_tasks)
                untaken_tasks -= tasks
                reading.bar.update(tasks)
            if place in failures:
                wanted, value = failed_value(failures[place], options)  # noqa: PLW2901 - in its place
                if not wanted:
                    continue
            waits = receive(value)
            if isinstance(waits, Deferred):
                await waits
        if not reading.counts:
            reading.took()
        # What came meanwhile is read when the reactor has seen to everything else.
        turn: Deferred[None] = Deferred()
        reading.post.send(_fire, turn)
        await turn


def _fire(waiter: Deferred[None]) -> None:
    if not waiter.called:
        waiter.callback(None)
