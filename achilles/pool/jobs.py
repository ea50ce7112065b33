"""The jobs of one pool: how calls become jobs, and how all of them end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import length_hint
from typing import Any

from ..engines.retrying import Retrying
from ..engines.spec import JobSpec
from .background import Background
from .explaining import Figures
from .options import Options
from .place import Place
from .running import Held
from .streams import Streams
from .waiting import check_join
from .wrapping import Counted, Setup, prepared, run_and_keep, run_call

__all__ = ["Jobs"]

# How many shares each worker gets of a list, where the standard library's pool cuts so.
SHARES = 4


class Jobs:
    """All that runs for a pool. It holds no reference to the pool, which may be dropped at any time.

    Args:
        place: Where they run.
        token: Names the pool.
        setup: Its initializer.
        chunks_per_worker: How many chunks a worker runs before it is replaced.
        startup_timeout_s: How long to wait for a node.
    """

    def __init__(
        self,
        place: Place,
        token: str,
        setup: Setup | None,
        chunks_per_worker: int | None,
        startup_timeout_s: float | None,
    ) -> None:
        self.place = place
        self._token = token
        self._setup = setup
        self._chunks_per_worker = chunks_per_worker
        self._startup_timeout_s = startup_timeout_s
        self._held: set[Held] = set()
        self._ended = False
        self._last: Figures | None = None  # of the newest job that is over
        self.background = Background()
        self.streams = Streams(place, self._call_spec)

    def start(
        self,
        func: Callable[[Any], Any],
        arguments: Iterable[Any],
        chunksize: int | None,
        options: Options,
        *,
        ordered: bool = True,
        most_ahead: int | None = None,
        feed: bool = True,
    ) -> Held:
        """Start a job."""
        if not callable(func):
            raise TypeError(f"func must be callable, not {type(func).__name__}")
        if chunksize is None and (self._chunks_per_worker or options.reducer is not None):
            chunksize = self._share(arguments)
        spec = options.spec(
            self._wrapped(func, options, chunksize or 1),
            arguments,
            chunksize=chunksize,
            ordered=ordered,
            most_ahead=most_ahead,
            prompt=feed,
            patient=not feed and not options.progress,
            keep_views=isinstance(arguments, list | tuple),
            startup_timeout_s=self._startup_timeout_s,
        )
        held = Held(spec, self.place, self._closed, feed=feed)
        self._held.add(held)
        if self._ended:  # in the meantime
            held.close()
        return held

    def _call_spec(self, options: Options, keeps: bool) -> JobSpec:
        """The job of a stream of calls."""
        return options.spec(
            self._wrapped(run_and_keep if keeps else run_call, options, 1),
            (),
            ordered=False,
            startup_timeout_s=self._startup_timeout_s,
        )

    def _wrapped(self, func: Callable[[Any], Any], options: Options, chunksize: int) -> Callable[[Any], Any]:
        if options.retries:
            func = Retrying(func, options.retries, options.kinds)
        if self._chunks_per_worker is not None:
            func = Counted(func, self._token, self._chunks_per_worker, chunksize)
        return prepared(func, self._setup)

    def _share(self, arguments: Iterable[Any]) -> int:
        """The standard library's chunksize, for what goes by chunks: a fourth of a worker's even share."""
        return max(-(-length_hint(arguments, 0) // (SHARES * self.place.processes)), 1)

    @property
    def replaces_workers(self) -> bool:
        """Whether workers leave after so many chunks."""
        return self._chunks_per_worker is not None

    @property
    def open_calls(self) -> int:
        """How many calls are not over; asks nobody."""
        return sum(not held.job.over for held in self._held.copy()) + self.streams.open_calls

    def stop_buffered(self) -> None:
        """Have jobs that draw only for their reader draw nothing more."""
        for held in list(self._held):
            if held.job.spec.most_ahead is not None:
                held.job.stop_input()

    def join(self) -> None:
        """Wait until all is done, whoever reads it.

        Raises:
            RuntimeError: This is a callback, for which it would wait.
        """
        check_join([*self.streams.readers, self.background])
        for held in list(self._held):
            held.job.join()
        self.background.join()

    def end(self) -> None:
        """Wait until all is done that readers take, and let the workers go."""
        for held in list(self._held):
            held.job.wait()
        self.streams.join()
        self.background.join()
        self.streams.close()
        self.place.close(at_once=False)

    def terminate(self) -> None:
        """Cancel everything, and end the workers."""
        self._ended = True
        for held in list(self._held):
            held.close()
        self.streams.close()
        self.place.close(at_once=True)

    def figures(self) -> Figures | None:
        """What was measured of the job under way with the most tasks, or of the newest."""
        under_way = [held.figures() for held in list(self._held)]
        found = max(under_way, key=lambda figures: figures.tasks, default=self._last)
        calls = self.streams.figures()
        return calls if found is None or (found.done and calls is not None and not calls.done) else found

    def _closed(self, held: Held) -> None:
        self._held.discard(held)
        self._last = held.figures()

    def rows(self) -> list[dict[str, Any]]:
        """The jobs under way."""
        return [
            {
                "name": held.job.name,
                "tasks_done": held.job.tally.tasks,
                "tasks_drawn": held.job.tasks_drawn,
                "elapsed_s": held.job.times_s[0],
            }
            for held in list(self._held)
            if not held.job.over
        ]
