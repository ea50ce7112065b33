"""Running one unit's items in the worker, and building the answer.

Knows a job's function and lists; knows nothing of channels, processes or where modules come from.
The answer's shapes are written down in ``achilles.workers.worker_main``.

Rules:

- Whatever the user's code raises is caught here; nothing but an answer leaves this module.
- A failure is turned into bytes at once: kept exceptions would keep the frames, and the arrays in
  them, of every failed item alive.
- The loop over items pays for one append per item. Short items run in gulps of up to `GULP_NS`, of which
  only the first is noted; everything else is per gulp or per unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from time import monotonic_ns, perf_counter_ns
from typing import Any

from achilles.errors import KeptLost, SerializationError
from achilles.sealed import Buffer
from achilles.serialization import (
    Serialized,
    deserialize,
    join,
    numbered,
    serialize,
    serialize_failure,
)
from achilles.workers import loading
from achilles.workers.channel import ALL_FAILED, OK, SOME_FAILED
from achilles.workers.importing import explain
from achilles.workers.running_items import RunningItems

#: How much work may run between two notes of where it is.
GULP_NS = 200_000
MOST_IN_A_GULP = 1024
#: How much longer a gulp may be than the last one.
GULP_GROWTH = 16
#: So many items are noted singly at first: what kills a worker often does so soon.
FIRST_SINGLY = 32

#: (index of the item, failure blob)
Failure = tuple[int, bytes]
#: (status, segments of the payload)
Answer = tuple[int, Sequence[Buffer]]


class Job:
    """One job's function: as it came, and as it was loaded."""

    __slots__ = (
        "_loaded",
        "_payload",
        "callback",
        "failure",
        "function",
        "on_error",
        "reducer",
        "session",
        "timed",
    )

    def __init__(self, session: int, payload: bytearray, timed: bool = False) -> None:
        self.session = session
        self.timed = timed
        self._payload = payload
        self._loaded = False
        self.failure: bytes | None = None
        self.function: Any = None
        self.callback: Any = None
        self.reducer: Any = None
        self.on_error = "raise"

    def load(self, index: int) -> None:
        """Load the function, once; a failure answers this and every later unit of the job."""
        if self._loaded:
            return
        self._loaded = True
        loading.begin()
        try:
            self.function, self.callback, self.reducer, self.on_error = deserialize(self._payload, "function")
        except BaseException as error:  # noqa: BLE001
            self.failure = _failure(error, index)
        finally:
            loading.end()
        self._payload = bytearray()


def answer_unit(
    job: Job,
    payload: Buffer,
    first: int,
    skip: int,
    limit: int,
    packet_tasks: int,
    progress: memoryview,
    running: RunningItems,
    *,
    singly: bool = False,
) -> tuple[int, Sequence[Buffer], int]:
    """Run items ``[skip, skip + limit)`` of the serialized list whose item 0 has index ``first``.

    With ``singly`` every item is noted before it is run.

    Returns:
        The answer, and for how many of the items, after those that were answered early; the others were taken
        back.
    """
    begin = first + skip
    if job.failure is not None:
        return ALL_FAILED, [job.failure], limit
    try:
        function = job.function
        loading.begin()
        try:
            items = deserialize(payload, numbered("argument", begin, limit))
        except (SerializationError, KeptLost):
            from achilles.salvage import refusing, salvage

            items = salvage(payload, "argument", first)
            if items is None or len(items) < max(skip + limit, 2):
                raise
            function = refusing(function)
        finally:
            loading.end()
        if skip or limit != len(items):
            items = items[skip : skip + limit]
        reduces = packet_tasks > 0 and job.reducer is not None
        keep_errors = reduces and job.on_error == "return"
        if job.timed:
            function = _timed(function, progress)
        results: list[Any] = []
        failures: list[Failure] = []
        remaining = running.begin(items, begin, packet_tasks, reduces, results, failures)
        most = 1 if singly or job.timed else MOST_IN_A_GULP
        try:
            into = results, failures
            _run(function, job.callback, remaining, begin, running, progress, keep_errors, most, into)
        finally:
            running.end()
        del items
        done = len(results)
        if not reduces:
            if early := running.early_tasks:
                results = results[early:]
                failures = [failure for failure in failures if failure[0] >= begin + early]
            return *_pack(results, range(begin + early, begin + done), failures), done - early
        failed = dict(failures)
        values: list[Any] = []
        failures = []
        starts = range(begin, begin + max(len(results), 1), packet_tasks)
        for start in starts:
            offset = start - begin
            part = results[offset : offset + packet_tasks]
            values.append(_reduce(job, part, start, failed, failures))
        del results
        return *_pack(values, starts, failures), done
    except BaseException as error:  # noqa: BLE001
        tasks = limit if running.promised is None else running.promised
        return ALL_FAILED, [_failure(error, begin)], tasks - running.early_tasks


def answer_reduce(job: Job, payload: bytearray, first: int, parts: int) -> Answer:
    """Reduce the results of several units that make up one packet."""
    if job.failure is not None:
        return ALL_FAILED, [job.failure]
    try:
        view = memoryview(payload)
        sizes = view[: 8 * parts].cast("Q")
        results: list[Any] = []
        failures: list[Failure] = []
        begin = 8 * parts
        for size_bytes in sizes:
            # A copy, since arrays want the alignment of a payload of their own.
            loaded = deserialize(bytearray(view[begin : begin + size_bytes]), f"results {first} and on")
            begin += size_bytes
            if type(loaded) is tuple:
                values, failed_here = loaded
                failures.extend(failed_here)
                loaded = deserialize(values, f"results {first} and on")
            results.extend(loaded)
        if job.on_error == "return":
            from achilles.serialization import load_failure

            for index, blob in failures:
                results[index - first] = load_failure(blob)
        listed: list[Failure] = []
        value = _reduce(job, results, first, dict(failures), listed)
        return _pack([value], [first], listed)
    except BaseException as error:  # noqa: BLE001
        return ALL_FAILED, [_failure(error, first)]


def _run(
    function: Callable[[Any], Any],
    callback: Callable[[Any], Any] | None,
    remaining: Iterator[Any],
    first: int,
    running: RunningItems,
    progress: memoryview,
    keep_errors: bool,
    most: int,
    into: tuple[list[Any], list[Failure]],
) -> None:
    results, failures = into
    inner, argument = _bound(function)
    gulp = 1
    # The iterator outlives a failure: the loop is entered again where it was left, so the
    # fast path holds no try of its own.
    while True:
        try:
            while True:
                done = len(results)
                number = first + done + 1
                # Below zero: the item that runs is this one, or one of the next.
                progress[0] = number if gulp == 1 else -number
                began_ns = running.began_ns = perf_counter_ns()
                if inner is not None and callback is None:
                    for item in islice(remaining, gulp):
                        results.append(inner(argument, item))
                elif callback is None:
                    for item in islice(remaining, gulp):
                        results.append(function(item))
                else:
                    for item in islice(remaining, gulp):
                        results.append(callback(function(item)))
                if len(results) - done < gulp:
                    progress[0] = first + len(results)
                    return
                if done >= FIRST_SINGLY:
                    item_ns = (perf_counter_ns() - began_ns) // gulp + 1
                    gulp = max(min(GULP_NS // item_ns, GULP_GROWTH * gulp, most), 1)
        except BaseException as error:  # noqa: BLE001
            _trim(error)
            index = first + len(results)
            failures.append((index, _failure(error, index)))
            results.append(error.with_traceback(None) if keep_errors else None)


def _bound(function: Callable[[Any], Any]) -> tuple[Callable[[Any, Any], Any] | None, Any]:
    """What a partial over one argument calls, and that argument; None of anything else.

    A call of that from here goes from Python to Python. The detour through C takes a third of the time of a
    short one.
    """
    if type(function) is partial and len(function.args) == 1 and not function.keywords:
        return function.func, function.args[0]
    return None, None


def _timed(function: Callable[[Any], Any], progress: memoryview) -> Callable[[Any], Any]:
    """The function, with a note of when each item began."""

    def timed(item: Any) -> Any:
        # The time first: it counts for the item that is written after it.
        progress[1] = monotonic_ns()
        progress[3] = progress[0]
        return function(item)

    return timed


def _reduce(job: Job, results: list[Any], first: int, failed: dict[int, bytes], listed: list[Failure]) -> Any:
    """One packet's value; what has to be reported is added to ``listed``."""
    here = range(first, first + len(results))
    bad = [index for index in here if index in failed] if failed else []
    if bad and job.on_error == "raise":
        listed.extend((index, failed[index]) for index in bad)
        return None
    if bad and job.on_error == "skip":
        results = [result for index, result in zip(here, results, strict=True) if index not in failed]
    try:
        return job.reducer(results)
    except BaseException as error:  # noqa: BLE001
        _trim(error)
        listed.append((first, _failure(error, first)))
        return None


def _pack(values: list[Any], indices: Sequence[int], failures: list[Failure]) -> Answer:
    """The answer that carries these values, without those that cannot be pickled."""
    try:
        whole = serialize(values, "results")
    except BaseException:  # noqa: BLE001
        for position, index in enumerate(indices):
            try:
                serialize(values[position], f"result of item {index}")
            except BaseException as error:  # noqa: BLE001
                values[position] = None
                failures.append((index, _failure(error, index)))
        whole = serialize(values, "results")
    failures.sort(key=lambda failure: failure[0])
    return _packed(whole, failures)


def pack_done(values: list[Any], failures: list[Failure]) -> Answer:
    """The answer that carries these values; raises what keeps one from being pickled."""
    return _packed(serialize(values, "results"), failures)


def _packed(values: Serialized, failures: list[Failure]) -> Answer:
    if not failures:
        return OK, values.segments
    return SOME_FAILED, serialize((bytes(join(values)), failures), "failures").segments


def _failure(error: BaseException, index: int) -> bytes:
    explain(error)
    return serialize_failure(error, index)


def _trim(error: BaseException) -> None:
    """Take this module's frames off the traceback, if user code follows them."""
    traceback = error.__traceback__
    while (
        traceback is not None
        and traceback.tb_next is not None
        and traceback.tb_frame.f_code.co_filename == __file__
    ):
        traceback = traceback.tb_next
    error.__traceback__ = traceback
