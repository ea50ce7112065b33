"""``map``, ``imap`` and ``imap_unordered``: one call, one job, wherever it runs.

All three cut the arguments into packets of ``cpu_count × chunksize`` for the node that runs them
and return results by packets. Where they run is settled by the arguments, the environment and
``.env`` files (`achilles.config`); with nothing configured, on this machine's cores.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .config import load_settings
from .engines.choice import CallEngine, engine_for
from .engines.interrupts import finalizing, opened, shielded
from .engines.job import Job
from .engines.outcomes import Packet, ParcelResults, packets_of, results_of
from .engines.retrying import Retrying, check_retries
from .engines.spec import JobSpec
from .html_table import html_table
from .progress_bar import ProgressChoice, bar_for, check_progress

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Packets", "imap", "imap_unordered", "map"]

Args = Iterable[Any] | Callable[[], Iterable[Any]]


def map(
    func: Callable[[Any], Any],
    args: Args,
    callback: Callable[[Any], Any] | None = None,
    chunksize: int | None = 1,
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    *,
    reducer: Callable[[list[Any]], Any] | None = None,
    error_callback: Callable[[BaseException], Any] | None = None,
    on_error: str = "raise",
    progress: ProgressChoice = False,
    address: str | None = None,
    startup_timeout: float | None = 60.0,
    output: bool = True,
    timeout: float | None = None,
    memory_budget: int | str | None = None,
    speculate: bool = False,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    priority: int = 0,
    nodes: str | Sequence[str] = (),
    slots: int = 1,
) -> list[Any]:
    """Apply ``func`` to every argument and return all results, packet by packet.

    Blocks until everything is done. With Ctrl-C, or when it raises, the job is cancelled.

    Args:
        func: The function of one argument. It may come from ``__main__``, a notebook or a closure.
        args: A list, a list of lists (each list is then one packet), a generator function (called
            in this process, drawn as far as there is room) or any other iterable.
        callback: Applied on the nodes to each result, and replaces it.
        chunksize: Tasks in each worker's share of a packet. None: packets hold what proves good, some
            tens of milliseconds of work. Not used when arguments are lists.
        host: The server's host; together with ``port`` another way to say ``address``.
        port: The server's port (9999 by default).
        username: Who asks, for the server.
        secret_key: The server's secret key.
        reducer: Applied on the nodes once per packet to the list of its results, and replaces it.
        error_callback: Called in this process with the exception of every failed item.
        on_error: ``"raise"`` the first failed item's exception; ``"return"`` exceptions in place of
            results; ``"skip"`` failed items.
        progress: Show a progress bar (tqdm) on standard error; or a function, called with how many items are
            done and how many there are in all (None: not known).
        address: ``"local"`` for this machine's cores, or ``"host:port"`` of a server.
        startup_timeout: Seconds to wait for a node when the server has none; None: for ever.
        output: Show what ``func`` prints (Python, C code and child processes alike) on this process's
            standard output and error, each line tagged with node and item. So many bytes a second;
            of the rest, only how much it was.
        timeout: Seconds that one item may run. An item that runs longer has failed, with `TaskTimeout`; it
            is not tried again. Loading the function and the arguments does not count. None: no limit.
        memory_budget: How much of this process's memory serialized arguments and results may take, in bytes
            or as ``"2G"``; beyond it no more arguments are drawn. By default as configured.
        speculate: Run items that take much longer than others of this call a second time, on a node
            that has nothing else to do; whichever is done first counts, the other is stopped. For
            machines that are now and then slow, and functions that may run twice at once. On this
            machine's cores alone it changes nothing.
        retries: How often an item is run again, at once and in the same worker, that raised one of
            ``retry_on``. What a dead worker had is run again in any case.
        retry_on: A class of exceptions, or a tuple of them.
        priority: Jobs of a higher one are served before others, on all nodes.
        nodes: Names or addresses of the nodes that may run it, or shell patterns of them; none: all may.
        slots: How many of its node's slots a task takes.

    Returns:
        A list of packets in the order of the arguments, each the list of its results (or its
        reduced value): not flattened.

    Raises:
        Exception: Whatever ``func``, ``callback`` or ``reducer`` raised on a node, as itself, with
            the remote traceback as its cause; or what the iterable of arguments raised.
        AchillesError: See `achilles.errors`: what is wrong with the cluster or the objects.
        TypeError: An argument of this call has the wrong type.
        ValueError: An argument of this call has an impossible value.
    """
    spec = JobSpec(
        _again(func, retries, retry_on),
        args,
        callback,
        reducer,
        chunksize,
        True,
        on_error,
        startup_timeout,
        keep_views=isinstance(args, list | tuple),
        output=output,
        timeout_s=timeout,
        speculate=bool(speculate),
        priority=priority,
        nodes=_patterns(nodes),
        slots=slots,
        patient=not progress,
    )
    settings = (host, port, username, secret_key, address, memory_budget)
    with shielded():
        packets = Packets(spec, settings, error_callback, progress, feed_in_thread=False)
        with closing(packets):
            return packets.all_results()


def imap(
    func: Callable[[Any], Any],
    args: Args,
    callback: Callable[[Any], Any] | None = None,
    chunksize: int | None = 1,
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    *,
    reducer: Callable[[list[Any]], Any] | None = None,
    error_callback: Callable[[BaseException], Any] | None = None,
    on_error: str = "raise",
    progress: ProgressChoice = False,
    address: str | None = None,
    startup_timeout: float | None = 60.0,
    output: bool = True,
    timeout: float | None = None,
    memory_budget: int | str | None = None,
    speculate: bool = False,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    priority: int = 0,
    nodes: str | Sequence[str] = (),
    slots: int = 1,
) -> Packets:
    """Apply ``func`` to every argument and yield the packets in order, as they are done.

    Returns at once; ``next`` blocks until the next packet is there. Arguments are drawn, in a
    thread of this process, only as far ahead as the nodes and this reader keep up with. Leaving the
    loop early, or dropping the iterator, cancels the job. When an item failed, ``next`` raises its
    exception in place of its packet, and the packets after it can still be read.

    Args: as of `map`.

    Yields:
        ``{'ARGS_COUNTER': i, 'RESULT': [...]}``, where ``i`` is the 0-based index of the packet's
        first argument, or the packet's number when the arguments are lists.

    Raises: as `map`; what concerns one packet, when it is its turn.
    """
    spec = JobSpec(
        _again(func, retries, retry_on),
        args,
        callback,
        reducer,
        chunksize,
        True,
        on_error,
        startup_timeout,
        output=output,
        timeout_s=timeout,
        speculate=bool(speculate),
        priority=priority,
        nodes=_patterns(nodes),
        slots=slots,
    )
    return Packets(spec, (host, port, username, secret_key, address, memory_budget), error_callback, progress)


def imap_unordered(
    func: Callable[[Any], Any],
    args: Args,
    callback: Callable[[Any], Any] | None = None,
    chunksize: int | None = 1,
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    *,
    reducer: Callable[[list[Any]], Any] | None = None,
    error_callback: Callable[[BaseException], Any] | None = None,
    on_error: str = "raise",
    progress: ProgressChoice = False,
    address: str | None = None,
    startup_timeout: float | None = 60.0,
    output: bool = True,
    timeout: float | None = None,
    memory_budget: int | str | None = None,
    speculate: bool = False,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    priority: int = 0,
    nodes: str | Sequence[str] = (),
    slots: int = 1,
) -> Packets:
    """Apply ``func`` to every argument and yield the packets as they come in, in any order.

    The fastest way to read results. Everything else is as with `imap`.
    """
    spec = JobSpec(
        _again(func, retries, retry_on),
        args,
        callback,
        reducer,
        chunksize,
        False,
        on_error,
        startup_timeout,
        output=output,
        timeout_s=timeout,
        speculate=bool(speculate),
        priority=priority,
        nodes=_patterns(nodes),
        slots=slots,
    )
    return Packets(spec, (host, port, username, secret_key, address, memory_budget), error_callback, progress)


def _again(func: Any, retries: int, retry_on: Any) -> Callable[[Any], Any]:
    """The function, tried as often as is asked for."""
    kinds = check_retries(retries, retry_on)
    again: Callable[[Any], Any] = Retrying(func, retries, kinds) if retries and callable(func) else func
    return again


def _patterns(nodes: Any) -> Any:
    return (nodes,) if isinstance(nodes, str) else nodes


class _Held:
    """What a call holds, let go of with it.

    Apart from `Packets`, so that nothing but a dropped iterator has a finalizer to run: what a signal's
    function raises at the beginning of one is lost, and whenever an old call is freed there could be one.
    """

    def __init__(self, engine: CallEngine) -> None:
        self.engine = engine
        self.job: Job | None = None
        self._open = True

    def close(self) -> None:
        """Cancel the job and release the engine; harmless when repeated."""
        with shielded():
            if self._open:
                self._open = False
                if self.job is not None:
                    self.job.cancel()
                self.engine.release()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of the interpreter modules are half gone, this one too, and engines have closed.
        if not is_finalizing():
            with finalizing():
                self.close()


class Packets(Iterator[dict[str, Any]]):
    """The results of one job, as an iterator that owns it.

    Close it, leave its ``with`` block or drop it to cancel what is still running.
    """

    def __init__(
        self,
        spec: JobSpec,
        settings: tuple[str | None, int | None, str | None, str | None, str | None, int | str | None],
        error_callback: Callable[[BaseException], Any] | None,
        progress: ProgressChoice,
        *,
        feed_in_thread: bool = True,
    ) -> None:
        self._job: Job | None = None
        self._held: _Held | None = None
        spec.check()
        check_progress(progress)
        host, port, username, secret_key, address, memory_budget = settings
        found = load_settings(
            host=host,
            port=port,
            username=username,
            secret_key=secret_key,
            address=address,
            memory_budget=memory_budget,
        )
        spec.budget_bytes = found.memory_budget_bytes
        self._reduces = spec.reducer is not None
        self._on_error = spec.on_error
        self._error_callback = error_callback
        self._packets: Iterator[Packet] = iter(())
        # Threads may share an iterator. Reentrant: an error_callback may read on. Closing needs no turn.
        self._reading = threading.RLock()
        self._bar = bar_for(progress, spec.args)
        with shielded():
            try:
                self._held = _Held(engine_for(found))
                self._job = self._held.job = Job(spec, self._held.engine)
                self._job.start()
            except BaseException:
                self.close()
                raise
            if feed_in_thread:
                self._job.start_feeder()

    def _repr_html_(self) -> str:
        return html_table(self, self._facts)

    def _facts(self) -> dict[str, Any]:
        job = self._job
        return {"state": "over" if job is None else "open"} | ({} if job is None else job.counts())

    def __iter__(self) -> Packets:
        return self

    def __next__(self) -> dict[str, Any]:
        try:
            with self._reading:
                packet = self.next_packet()
        except StopIteration as error:
            # As in generators (PEP 479): the loop over packets must not take it for their end.
            raise RuntimeError("a function of the job raised StopIteration") from error
        if packet is None:
            raise StopIteration
        return {"ARGS_COUNTER": packet.counter, "RESULT": packet.result}

    def __enter__(self) -> Packets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is not done, and let go of everything. Harmless when repeated."""
        with shielded():
            held, self._held, self._job = self._held, None, None
            self._packets = iter(())
            if held is not None:
                held.close()
            del held
        bar, self._bar = getattr(self, "_bar", None), None
        if bar is not None:
            bar.close()

    def next_packet(self) -> Packet | None:
        """The next packet, or None at the end.

        Raises: as `imap`.
        """
        while (packet := self._next_of_parcel()) is None:
            parcel = self._next_parcel(feed=False)
            if parcel is None:
                return None
            self._packets = packets_of(parcel, reduces=self._reduces, on_error=self._on_error)
        return packet

    def _next_of_parcel(self) -> Packet | None:
        """The next packet of the parcel that is being read, or None at its end."""
        for packet in self._packets:
            if self._bar is not None:
                self._bar.update(packet.tasks)
            for failure in packet.failures:
                if self._error_callback is not None:
                    self._error_callback(failure)
            if packet.failures and self._on_error == "raise":
                raise packet.failures[0]
            if not packet.dropped:
                return packet
        return None

    def all_results(self) -> list[Any]:
        """The results of all packets; the arguments are drawn in this thread.

        Raises: as `map`.
        """
        results: list[Any] = []
        while (parcel := self._next_parcel(feed=True)) is not None:
            with opened():
                plain = None if self._bar is not None else results_of(parcel, reduces=self._reduces)
                if plain is not None:
                    results += plain
                    continue
                self._packets = packets_of(parcel, reduces=self._reduces, on_error=self._on_error)
                # Not a generator: one would turn a StopIteration of the user's into something else.
                while (packet := self._next_of_parcel()) is not None:
                    results.append(packet.result)
        return results

    def _next_parcel(self, feed: bool) -> ParcelResults | None:
        job = self._job
        if job is None:
            return None
        parcel = None
        with shielded():
            try:
                more = feed
                while more and (parcel := job.next_parcel(block=False)) is None:
                    more = job.feed_once(or_read=True)
                    # Nobody will see the results, so don't wait for them.
                    job.raise_input_error()
                if parcel is None:
                    parcel = job.next_parcel()
            except BaseException:
                # Nothing comes after this. The traceback keeps the iterator alive, perhaps for long.
                self.close()
                raise
            if parcel is None:
                self.close()
        return parcel
