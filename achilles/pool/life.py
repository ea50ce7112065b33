"""A pool's own life: how it is, how it ends, and what is told of it."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ..config_values import LOCAL
from ..engines.interrupts import shielded
from ..html_table import html_table
from .explaining import Explanation, explain
from .jobs import Jobs
from .place import Place

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CLOSE", "RUN", "TERMINATE", "PoolLife"]

# The states of a pool, as the standard library names them.
RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"


class PoolLife:
    """What a pool is besides its calls.

    Args:
        place: Where it runs.
        jobs: What runs for it.
    """

    # Before anything can fail: there is a __del__.
    _state = TERMINATE

    def __init__(self, place: Place, jobs: Jobs) -> None:
        self._place = place
        self._jobs = jobs
        # Set when all is done and the workers are gone; there is one once the pool was closed.
        self._over: threading.Event | None = None
        self._state = RUN

    # -- how it is

    def status(self) -> dict[str, Any]:
        """Where the pool runs, its state, its workers and what is under way, as a plain dictionary.

        On a cluster the server is asked, and ``nodes`` tells of each of its nodes. Blocks for that answer.
        """
        status: dict[str, Any] = {
            "where": LOCAL if self._place.is_local else self._place.settings.endpoint,
            "state": self._state,
            "jobs": self._jobs.rows(),
            "open_calls": self._jobs.streams.open_calls,
        }
        if self._place.is_local:
            status["workers"] = self._place.worker_pids
        else:
            status["nodes"] = self._place.nodes()
            status["workers"] = sum(node["cpu_count"] for node in status["nodes"])
        return status

    def explain(self) -> Explanation:
        """What limits the job under way, or the last one: print it, or let a notebook show it."""
        return explain(self._jobs.figures())

    # -- the pool's own life

    def close(self) -> None:
        """Take no more calls; what was asked for is done, then the workers leave."""
        if self._state != RUN or self._place.is_inherited:
            return
        # Before others see that it was closed: they may wait for it at once.
        self._over = over = threading.Event()
        self._state = CLOSE
        self._jobs.stop_buffered()
        threading.Thread(target=self._end, args=(over,), name="achilles-pool-closing", daemon=True).start()

    def _end(self, over: threading.Event) -> None:
        try:
            self._jobs.end()
        finally:
            over.set()

    def finish(self) -> None:
        """Close and wait, in this thread alone: at the end of the program no other can be started."""
        if self._state != TERMINATE and not self._place.is_inherited:
            self._state = CLOSE
            self._jobs.stop_buffered()
            self._jobs.join()
            self._jobs.end()

    def terminate(self) -> None:
        """End the workers at once; who waits for results is told (`TaskCancelled`)."""
        self._state = TERMINATE
        if not self._place.is_inherited:
            # Ctrl-C in the middle of this would leave workers behind.
            with shielded():
                self._jobs.terminate()

    def join(self) -> None:
        """Wait until all is done and the workers are gone. What nobody has read yet is kept in memory.

        Raises:
            ValueError: The pool was neither closed nor terminated.
        """
        if self._place.is_inherited:
            return  # the parent's
        if self._state == RUN:
            raise ValueError("Pool is still running: close() or terminate() it before join()")
        self._jobs.join()
        if (over := self._over) is not None:
            while not over.wait(0.25):
                pass  # Ctrl-C is seen between two waits

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    # At the end of the interpreter a module's names may be gone before its objects.
    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if self._state == RUN and not is_finalizing() and not self._place.is_inherited:
            warnings.warn(
                f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self, stacklevel=2
            )
            self._state = TERMINATE
            # The garbage collector may be at work in any thread, with any lock held.
            ending = threading.Thread(target=self._jobs.terminate, name="achilles-pool-dropped", daemon=True)
            ending.start()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} at {self.place} state={self._state}>"

    def _repr_html_(self) -> str:
        return html_table(self, self.facts)

    def facts(self) -> dict[str, Any]:
        """What a notebook shows of it, as far as it is known here; asks nobody."""
        place = self._place
        return {
            "where": self.place,
            "workers": place.processes if place.is_local else "as many as the nodes have",
            "state": self._state,
            "open calls": self._jobs.open_calls,
        }

    @property
    def place(self) -> str:
        """Where it runs: ``local``, or the server's host and port."""
        return "local" if self._place.is_local else self._place.settings.endpoint

    @property
    def _pool(self) -> list[int]:
        """The process numbers of the workers on this machine: the standard library's own tests count them."""
        return self._place.worker_pids

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running: it was closed or terminated")
        self._place.check_inherited()

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child of the one that made the pool."""
        return self._place.is_inherited

    def check_inherited(self) -> None:
        """Raise RuntimeError in a forked child of the process that made the pool."""
        self._place.check_inherited()
