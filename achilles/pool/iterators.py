"""`ResultIterator`: what ``imap`` and ``imap_unordered`` of a pool return."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..engines.interrupts import finalizing, opened, shielded
from ..engines.job import NotYetError
from ..errors import SerializationError
from ..html_table import html_table
from ..progress_bar import Bar
from .checks import check_seconds
from .options import Options
from .results import NotInTime
from .running import Held, as_local, tasks_of_value

__all__ = ["ResultIterator"]


class ResultIterator(Iterator[Any]):
    """Single results, in order or as they come, as `multiprocessing.pool.IMapIterator`.

    Arguments are drawn only as far ahead as workers and reader keep up with. When an item failed, its turn
    raises its exception, and the others can still be read. Close it, or drop it after reading some of it, to
    cancel what is not done; one that was never read runs to its end, for what its functions do.
    Threads may share it.
    """

    def __init__(self, held: Held, options: Options, bar: Bar | None, *, keep: object = None) -> None:
        self._kept = keep  # the pool, which would end its workers
        self._held: Held | None = held
        self._options = options
        self._bar = bar
        self._begun = False
        self._counts = held.job.spec.most_ahead is not None
        self._values: list[Any] = []  # of the parcel that is being read, in reverse
        self._failures: dict[int, BaseException] = {}  # by place from the end of that list
        self._parcel = 0
        self._value_tasks = 1  # how many tasks one of the values stands for: a chunk's, when they are reduced
        self._untaken_tasks = 0
        # Reentrant: an error_callback may read on.
        self._reading = threading.RLock()

    def _repr_html_(self) -> str:
        return html_table(self, self._facts)

    def _facts(self) -> dict[str, Any]:
        held = self._held
        return {"state": "over" if held is None else "open"} | ({} if held is None else held.job.counts())

    def __iter__(self) -> ResultIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """The next result. Blocks.

        Args:
            timeout: Seconds to wait for it; None: as long as it takes.

        Raises:
            StopIteration: There are no more.
            TimeoutError: It is not there in time (`multiprocessing.TimeoutError`). It can be asked for again.
            BaseException: What the function raised for this item, or the iterable at its end.
        """
        until_s = None
        if timeout is not None:
            check_seconds("timeout", timeout)
            until_s = time.monotonic() + timeout
        with self._reading:
            self._begun = True
            while True:
                if not self._values and not self._read(until_s):
                    raise StopIteration
                value = self._values.pop()
                failure = self._failures.pop(len(self._values), None)
                tasks = min(self._value_tasks, self._untaken_tasks)
                self._untaken_tasks -= tasks
                held = self._held
                if self._counts and held is not None:
                    held.job.taken(self._parcel, tasks)
                if self._bar is not None:
                    self._bar.update(tasks)
                if failure is None:
                    return value
                failure = as_local(failure)
                if self._options.error_callback is not None:
                    self._options.error_callback(failure)
                if self._options.on_error == "return":
                    return failure
                if self._options.on_error == "raise":
                    if isinstance(failure, StopIteration):
                        # As in generators (PEP 479): the loop over results must not take it for their end.
                        raise RuntimeError("a function of the pool raised StopIteration") from failure
                    raise failure

    __next__ = next

    def _read(self, until_s: float | None) -> bool:
        """Take the next parcel that holds anything; False at the end."""
        while (held := self._held) is not None:
            job = held.job
            held.check_inherited()
            try:
                with shielded():
                    parcel = job.next_parcel(until_s=until_s)
                    if parcel is not None:
                        with opened():
                            values, failures = held.values_of(parcel)
            except NotYetError as error:
                raise NotInTime("no result was ready in time") from error
            except SerializationError as error:
                self.close()
                raise as_local(error) from None
            except BaseException:
                self.close()
                raise
            if parcel is None:
                self.close()
                return False
            if values:
                last = len(values) - 1
                values.reverse()
                self._values, self._parcel = values, parcel.number
                self._untaken_tasks = parcel.tasks
                self._value_tasks = tasks_of_value(parcel, job.spec)
                self._failures = {last - place: failure for place, failure in failures.items()}
                return True
        return False

    def close(self) -> None:
        """Cancel what is not done. Harmless when repeated."""
        held, self._held = self._held, None
        if held is not None:
            held.close()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    # At the end of the interpreter this module's names may be gone.
    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        held = getattr(self, "_held", None)
        if held is None or is_finalizing():
            return
        with finalizing():
            if self._begun:
                self.close()
            else:
                held.discard()
