"""One job of a pool, read as single results.

`Held` owns the job and its engine until it is closed. What reads it is the caller of `Pool.map`
(`all_values`), an iterator (`achilles.pool.iterators`) or, for calls that return at once, a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pickle import PicklingError
from typing import Any

from ..engines.interrupts import opened, shielded
from ..engines.job import Job
from ..engines.outcomes import ParcelResults, items_of, packets_of
from ..engines.spec import JobSpec
from ..errors import SerializationError
from ..progress_bar import Bar
from .explaining import Figures
from .options import Options
from .place import Place

__all__ = ["Held", "Items", "all_values", "as_local", "figures_of", "settled", "tasks_of_value"]

# The values of a part of a job in order, and failures by their places in it.
Items = tuple[list[Any], dict[int, BaseException]]


class Held:
    """A job under way, and the engine it runs on.

    Args:
        spec: What is asked for.
        place: Where it runs.
        on_close: Told when it is closed.
        feed: Draw arguments in a thread of the job's own.

    Raises:
        SerializationError: The function cannot travel.
        TypeError: The arguments are not iterable.
        ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be used.
    """

    def __init__(
        self, spec: JobSpec, place: Place, on_close: Callable[[Held], None], *, feed: bool = True
    ) -> None:
        # Held once it is closed, by whichever thread came first: nobody else may let the engine go again.
        self._closing = threading.Lock()
        self._closing.acquire()
        self._on_close = on_close
        self._is_local = place.is_local
        self._reading_s = 0.0
        self._place = place
        spec.budget_bytes = place.budget_bytes
        with shielded():
            self._engine = place.engine()
            try:
                self.job = Job(spec, self._engine)
                self.job.start()
            except BaseException:
                self._engine.release()
                raise
            self._closing.release()
            if feed:
                self.job.start_feeder()

    def values_of(self, parcel: ParcelResults) -> Items:
        """What a parcel of the job holds, by items; by chunks when it reduces."""
        began_s = time.monotonic()
        try:
            return values_of(parcel, self.job.spec)
        finally:
            self._reading_s += time.monotonic() - began_s

    def figures(self) -> Figures:
        """What was measured of the job."""
        return figures_of(self.job, self._reading_s, is_local=self._is_local)

    def check_inherited(self) -> None:
        """Raise RuntimeError in a forked child of the process that made the pool."""
        self._place.check_inherited()

    def close(self) -> None:
        """Cancel the job if it is not over, and let the engine go. Harmless when repeated."""
        with shielded():
            if self._closing.acquire(blocking=False):
                if self._place.is_inherited:
                    return  # the parent's, and so may its locks be
                self.job.cancel()
                self._engine.release()
                self._on_close(self)
            elif not self._place.is_inherited:
                self._engine.let_go()  # this thread may lead it, whoever released it

    def discard(self) -> None:
        """Let it run to its end though nobody reads it."""
        if self._place.is_inherited:
            return
        threading.Thread(target=self._drain, name="achilles-pool-drain", daemon=True).start()

    def _drain(self) -> None:
        try:
            while (parcel := self.job.next_parcel()) is not None:
                if self.job.spec.most_ahead is not None:
                    self.job.taken(parcel.number, parcel.tasks)
        except Exception:  # noqa: BLE001 - nobody is there to be told
            pass
        finally:
            self.close()


def values_of(parcel: ParcelResults, spec: JobSpec) -> Items:
    """What a parcel holds, by items; by chunks when the job reduces."""
    if spec.reducer is None:
        return items_of(parcel)
    values: list[Any] = []
    failures: dict[int, BaseException] = {}
    for packet in packets_of(parcel, reduces=True, on_error="raise"):
        if packet.failures:
            failures[len(values)] = packet.failures[0]
        values.append(packet.result)
    return values, failures


def tasks_of_value(parcel: ParcelResults, spec: JobSpec) -> int:
    """How many tasks each of `values_of` stands for; the last one perhaps for fewer."""
    return 1 if spec.reducer is None else max(parcel.packet_tasks, 1)


def figures_of(job: Job, reading_s: float, *, is_local: bool, elapsed_s: float | None = None) -> Figures:
    """What was measured of a job."""
    tally = job.tally
    since_s, drawing_s, serializing_s = job.times_s
    return Figures(
        name=job.name,
        elapsed_s=since_s if elapsed_s is None else elapsed_s,
        tasks=tally.tasks,
        slots=sum(tally.slots.values()),
        busy_s=tally.busy_us / 1e6,
        longest_s=tally.longest_us / 1e6,
        drawing_s=drawing_s,
        serializing_s=serializing_s,
        reading_s=reading_s,
        sent_bytes=tally.sent_bytes,
        received_bytes=tally.received_bytes,
        chunksize=job.spec.chunksize,
        is_local=is_local,
        done=job.over,
    )


def all_values(held: Held, options: Options, bar: Bar | None) -> list[Any]:
    """Feed a job and read it, in this thread.

    Returns:
        Its results in order.

    Raises:
        BaseException: What the iterable raised, at once; or the failure of the first item that failed, once
            all others are done. As the standard library's pool: who uses shared files may count on it that
            nothing runs any more.
    """
    job = held.job
    results: list[Any] = []
    failure: BaseException | None = None
    with shielded():
        try:
            more = True
            while True:
                parcel = None
                while more and (parcel := job.next_parcel(block=False)) is None:
                    more = job.feed_once(or_read=True)
                    job.raise_input_error()
                if parcel is None:
                    parcel = job.next_parcel()
                if parcel is None:
                    break
                with opened():
                    values, failures = held.values_of(parcel)
                    if bar is not None:
                        bar.update(parcel.tasks)
                    if failures:
                        failure = failure or next(iter(failures.values()))
                        values = settled(values, failures, options)
                    results += values
        except SerializationError as error:
            raise as_local(error) from None
        finally:
            held.close()
            if bar is not None:
                bar.close()
    if failure is not None and options.on_error == "raise":
        raise as_local(failure)
    return results


def settled(values: list[Any], failures: dict[int, BaseException], options: Options) -> list[Any]:
    """The values with failures put in or left out, as the options say; they are told of each."""
    for place, failure in failures.items():
        local = as_local(failure)
        if options.error_callback is not None:
            options.error_callback(local)
        values[place] = local
    if options.on_error == "skip":
        return [value for place, value in enumerate(values) if place not in failures]
    return values


def as_local(error: BaseException) -> BaseException:
    """The exception as the standard library's pool raises it.

    What an object's own ``__reduce__`` raised is raised as itself. A result that cannot travel is a
    ``multiprocessing.pool.MaybeEncodingError`` too.
    """
    if not isinstance(error, SerializationError) or type(error) is not SerializationError:
        return error
    from multiprocessing.pool import RemoteTraceback  # type: ignore[attr-defined]

    cause = error.__cause__
    if str(error.subject).startswith("result"):
        from .encoding_error import ResultEncodingError

        return ResultEncodingError.of(error)
    # A remote traceback is no exception of anybody's.
    own = (PicklingError, TypeError, AttributeError, RecursionError, ImportError, RemoteTraceback)
    if isinstance(cause, Exception) and not isinstance(cause, own):
        cause.add_note(str(error))
        return cause
    return error
