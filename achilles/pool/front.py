"""A pool for programs with a loop: whatever may take long is done in threads beside it.

`Front` is what the faces for asyncio and for Twisted have in common. It makes the pool in a thread, when it
is first used; workers are started and servers connected there, and arguments are serialized.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..task_cancelled import TaskCancelled
from .checks import check_pool, options_of
from .jobs import Jobs
from .options import Options
from .place import Place, settings_of
from .pool import CLOSE, RUN, TERMINATE, Pool, tasks_ahead
from .posting import Post, Sender
from .running import Held
from .stream import Sent
from .wrapping import Starred

__all__ = ["Asked", "Front", "Waiting", "chosen", "one_call", "starred", "start_alone"]

NOT_RUNNING = "Pool not running: it was closed or terminated"
#: What a job is started from: function, arguments, chunksize, options, ordered, most_ahead.
Asked = tuple[Callable[[Any], Any], Any, int | None, Options, bool, int | None]


def chosen(
    func: Any, chunksize: int | None, options: Mapping[str, Any], buffersize: int | None = None
) -> tuple[Options, int | None]:
    """The options of a call, checked before anything starts; and how many tasks may be drawn ahead."""
    made = options_of(dict(options))
    made.spec(func, (), chunksize=chunksize)
    return made, tasks_ahead(buffersize, chunksize)


def starred(func: Any) -> Starred:
    """The function, given each argument's parts."""
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__}")
    return Starred(func)


def one_call(
    func: Any, args: Iterable[Any], kwds: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> tuple[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Options]:
    """A single call, and how it is run; checked."""
    made, _ = chosen(func, 1, options)
    made.check_for_one()
    return (func, tuple(args), dict(kwds or {})), made


def start_alone(where: Mapping[str, Any], asked: Asked) -> Held:
    """Start a job that belongs to no pool, on this process's own workers or a server's nodes."""
    where = dict(where)
    startup_timeout_s = where.pop("startup_timeout")
    place = Place(None, settings_of(**where), own=False)
    func, arguments, chunksize, options, ordered, most_ahead = asked
    jobs = Jobs(place, "", None, None, startup_timeout_s)
    return jobs.start(func, arguments, chunksize, options, ordered=ordered, most_ahead=most_ahead)


class Waiting:
    """The promise of one call, waited for in a loop.

    Args:
        post: Leads to the loop.
        done: Called there with the result and what was raised, unless it was cancelled.
    """

    def __init__(self, post: Post, done: Callable[[Any, BaseException | None], None]) -> None:
        self._post = post
        self._done = done
        self._lock = threading.Lock()
        self.is_cancelled = False
        self.sent: Sent | None = None

    def begin(self) -> bool:
        """Whether it is still wanted, now that it is about to be sent."""
        with self._lock:
            return not self.is_cancelled

    def cancel(self) -> None:
        """It is no longer wanted."""
        with self._lock:
            self.is_cancelled = True

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Give it its result or what was raised."""
        self._post.send(self._settled, value, error)

    def _settled(self, value: Any, error: BaseException | None) -> None:
        if not self.is_cancelled:
            self._done(value, error)


class Front:
    """Makes a pool and its calls in threads.

    Args:
        processes: As of `Pool`, and so are the others.
        **where: ``address``, ``host``, … of `Pool`.
    """

    def __init__(
        self,
        processes: int | None,
        initializer: Callable[..., Any] | None,
        initargs: Iterable[Any],
        maxtasksperchild: int | None,
        where: dict[str, Any],
    ) -> None:
        check_pool(processes, initializer, maxtasksperchild, where.get("startup_timeout"))
        self._make: Callable[[], Pool] = lambda: Pool(
            processes, initializer, initargs, maxtasksperchild, **where
        )
        self.pool: Pool | None = None
        self.state = RUN
        self._making = threading.Lock()
        self._changed = threading.Condition()
        self._starting = 0  # how many calls were made whose job has not begun
        self._sender = Sender()
        self._canceller = Sender()

    def expect(self) -> None:
        """A call is made: `start` or `call` follows.

        Raises:
            ValueError: The pool has ended.
            RuntimeError: This is a forked child of the process that uses it.
        """
        if self.state != RUN:
            raise ValueError(NOT_RUNNING)
        pool = self.pool
        if pool is not None:
            # Here, as threads that were at work for it were not forked.
            pool.check_inherited()
        with self._changed:
            self._starting += 1

    def _begun(self) -> None:
        with self._changed:
            self._starting -= 1
            self._changed.notify_all()

    def leave(self, state: str) -> None:
        """Take no more calls from now on; `close` or `terminate` follows."""
        if self.state != TERMINATE:
            self.state = state

    @property
    def _is_inherited(self) -> bool:
        """Whether this is a forked child of the process that uses it."""
        return self.pool is not None and self.pool.is_inherited

    @property
    def place(self) -> str:
        """Where it runs, as far as that is known."""
        pool = self.pool
        return "not started" if pool is None else f"at {pool.place}"

    def facts(self) -> dict[str, Any]:
        """What a notebook shows of it."""
        pool = self.pool
        return (
            {"state": self.state, "workers": "not started"}
            if pool is None
            else {**pool.facts(), "state": self.state}
        )

    # In other threads.

    def begin(self) -> Pool:
        """The pool; made now, if it was not."""
        with self._making:
            if self.pool is None:
                if self.state == TERMINATE:
                    raise ValueError(NOT_RUNNING)
                self.pool = self._make()
            return self.pool

    def start(self, asked: Asked) -> Held:
        """Start a job."""
        func, arguments, chunksize, options, ordered, most_ahead = asked
        try:
            pool = self.begin()
            return pool.start(func, arguments, chunksize, options, ordered=ordered, most_ahead=most_ahead)
        except ValueError as error:
            raise self._overtaken(error) from error
        finally:
            self._begun()

    def close(self) -> None:
        """Take no more calls; those that were made are done, then the workers leave."""
        with self._changed:
            while self._starting and self.state != TERMINATE and not self._is_inherited:
                self._changed.wait()
        self._end(CLOSE, Pool.close)

    def terminate(self) -> None:
        """End the workers at once, and wait until they are gone."""
        self._end(TERMINATE, _terminate)

    def join(self) -> None:
        """Wait until all is done and the workers are gone."""
        if self.state == RUN:
            raise ValueError("Pool is still running: close() or terminate() it before join()")
        self._end(self.state, Pool.join)

    def _end(self, state: str, end: Callable[[Pool], None]) -> None:
        with self._making:
            if self.state != TERMINATE:
                self.state = state
            pool = self.pool
        with self._changed:
            self._changed.notify_all()
        if pool is not None:
            end(pool)

    # In the loop's thread.

    def call(self, call: Any, options: Options, waiting: Waiting) -> None:
        """Make a single call. Returns at once."""
        self._sender.run(lambda: self._send(call, options, waiting))

    def give_up(self, waiting: Waiting) -> None:
        """Nobody waits for a call any more. Returns at once."""
        waiting.cancel()
        self._canceller.run(lambda: self._take_back(waiting))

    def _send(self, call: Any, options: Options, waiting: Waiting) -> None:
        try:
            if waiting.is_cancelled:
                return
            waiting.sent = self.begin().submit(call, waiting, options)
        except ValueError as error:
            waiting.settle(None, self._overtaken(error))
        except BaseException as error:  # noqa: BLE001 - whatever it is, who waits is told
            waiting.settle(None, error)
        finally:
            self._begun()
        if waiting.is_cancelled:
            self._take_back(waiting)

    def _overtaken(self, error: ValueError) -> Exception:
        """What to tell of a call that was made while the pool ran, and found that it does not any more."""
        if self.state != TERMINATE:
            return error
        return TaskCancelled("the pool was terminated before this call began")

    def _take_back(self, waiting: Waiting) -> None:
        if waiting.sent is not None:
            waiting.sent.give_up()


def _terminate(pool: Pool) -> None:
    pool.terminate()
    pool.join()
