"""joblib's ``Parallel`` on this machine's cores or on a server's nodes.

::

    Parallel ── submit(batch) ──▶ AchillesBackend ──▶ the call's own job ──▶ workers
        ▲                                                                      │
        └──────── callback(future), in the thread that reads the job ◀─────────┘

joblib decides how many calls make a batch and how many batches are out; a batch is one item of a job here.

Rules:

1. Each ``Parallel`` has a job of its own, so ending one early stops what runs for it, and nothing else.
2. Embedded workers are kept for the next ``Parallel`` (`kept_places`). What is held at a server is let go of
   with the last ``Parallel`` that used this backend.
3. A ``Parallel`` is not kept beyond its call: it holds the caller's iterable, which may want to be closed.
4. What goes wrong in the thread that reads a job is told to ``Parallel`` through a future: nobody else would
   hear of it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from joblib.parallel import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from ..config import load_settings
from ..engines.nesting import works_for
from ..engines.startup import WaitForNodes
from ..workers.cores import available_cores
from .executor import Future
from .inner_threads import WithThreads
from .joblib_errors import as_loky_raises
from .jobs import Jobs
from .kept_places import borrow, give_back
from .options import Options
from .place import Place
from .streams import Streams

__all__ = ["AchillesBackend"]

# What ``Parallel`` tells every backend; of use to those that map arrays into files.
_FOR_OTHERS = {"max_nbytes", "temp_folder", "mmap_mode", "prefer", "require", "verbose", "context"}

# For how long the count of a cluster's slots is good. Every call asks for it, scikit-learn more often.
SLOTS_FRESH_S = 5.0
LOOK_AGAIN_S = 0.25


class AchillesBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """A backend of joblib; its name is ``"achilles"`` once `achilles.joblib` is imported.

    Args:
        nesting_level: joblib's own: how deep within calls of ``Parallel`` it is.
        inner_max_num_threads: How many threads BLAS and OpenMP may use in a task. By default the worker's
            share of its machine's cores.
        address: ``"local"`` for this machine's cores, or ``"host:port"`` of a server. What is not given comes
            from ``ACHILLES_*`` variables and ``.env`` files.
        host: The server's host; together with ``port`` another way to say ``address``.
        port: The server's port.
        username: Who asks, for the server.
        secret_key: The server's secret key.
        startup_timeout: Seconds to wait for a node when the server has none; None: for ever.

    Raises:
        ConfigError: The settings contradict each other.
        TypeError: There is no such parameter.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    # Who names this backend wants all there is, as with dask.
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        *,
        address: str | None = None,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        secret_key: str | None = None,
        startup_timeout: float | None = 60.0,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        where = {
            "address": address,
            "host": host,
            "port": port,
            "username": username,
            "secret_key": secret_key,
        }
        self._settings = load_settings(**where)  # type: ignore[arg-type]  # as of its parameters, one by one
        self._parameters: dict[str, Any] = {**where, "startup_timeout": startup_timeout}
        self._lock = threading.Lock()
        self._slots = (0.0, 0)  # until when they are good, and how many
        # Calls below one parallel_config share this object, and overlap when they return generators.
        self._calls = 0
        self._newest: weakref.ref[Any] | None = None
        self._place: Place | None = None
        self._borrowed: int | None = None  # of this many workers, if it is one of this machine's
        self._streams: dict[Any, Streams] = {}  # by the Parallel whose batches go there

    @property
    def parallel(self) -> Any:
        """The newest ``Parallel`` that uses this backend, while it lives; joblib looks here."""
        return None if self._newest is None else self._newest()

    @parallel.setter
    def parallel(self, parallel: Any) -> None:
        self._newest = None if parallel is None else weakref.ref(parallel)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks run at once when ``n_jobs`` are asked for: with -1, all slots there are.

        Raises:
            ValueError: ``n_jobs`` is 0.
            NoNodesError: The server has no node, for as long as ``startup_timeout``.
            ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be asked.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            n_jobs = self.default_n_jobs
        if n_jobs > 0:
            return n_jobs
        if self._is_local():
            return max(available_cores() + 1 + n_jobs, 1)
        # Of 1, joblib makes a loop in this process: nothing that somebody means who names a cluster.
        return max(self._slots_of_cluster() + 1 + n_jobs, 2)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **parameters: Any) -> int:
        """Get ready for a call of ``Parallel``.

        Returns:
            How many tasks run at once.

        Raises:
            FallbackToBackend: joblib is to use another one: of its own for ``n_jobs=1``.
            TypeError: ``Parallel`` was given a parameter that this backend does not have.
        """
        given = {name: value for name, value in parameters.items() if name not in _FOR_OTHERS}
        if not given.items() <= self._parameters.items():
            level, threads = self.nesting_level, self.inner_max_num_threads
            raise FallbackToBackend(AchillesBackend(level, threads, **{**self._parameters, **given}))
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        with self._lock:
            if self._place is None:
                self._place = self._find_place(n_jobs)
            self._calls += 1
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[..., Any] | None = None) -> Future[Any]:
        """Hand out a batch; ``callback`` is called with its future when it is done."""
        if self.inner_max_num_threads is not None:
            func = WithThreads(func, self.inner_max_num_threads)
        future: Future[Any] = Future()
        if callback is not None:
            future.add_done_callback(callback)
        try:
            self._streams_of(callback).add(Options(), (func, (), {}), future)
        except Exception as error:  # noqa: BLE001 - see rule 4
            future.settle(None, error)
        return future

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """A batch's results.

        Raises:
            Exception: Whatever a call of the batch raised, as itself, with the remote traceback as its cause.
            BatchWorkerDiedError: A worker died of it, which is loky's ``TerminatedWorkerError`` too.
            BatchNotSentError: It cannot be pickled, which is a ``PicklingError`` too.
            AchillesError: See `achilles.errors`.
        """
        error = future.exception()
        if error is not None:
            raise as_loky_raises(error)
        return future.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Stop what runs for calls that came to an early end. They may go on with new batches."""
        with self._lock:
            ended = [parallel for parallel in self._streams if getattr(parallel, "_aborting", True)]
            streams = [self._streams.pop(parallel) for parallel in ended]
        for each in streams:
            each.close()

    def terminate(self) -> None:
        """A call is over."""
        self.reset_batch_stats()
        with self._lock:
            self._calls = max(self._calls - 1, 0)
            if self._calls:
                return
            streams, self._streams = list(self._streams.values()), {}
            place, self._place = self._place, None
            borrowed, self._borrowed = self._borrowed, None
        for each in streams:
            each.close()
        if borrowed is not None:
            give_back(borrowed)
        elif place is not None:
            place.close(at_once=True)

    def _streams_of(self, callback: Any) -> Streams:
        parallel = getattr(callback, "parallel", self.parallel)
        with self._lock:
            if parallel not in self._streams:
                if self._place is None:
                    raise RuntimeError("the call that this backend was configured for is over")
                jobs = Jobs(self._place, "", None, None, self._parameters["startup_timeout"])
                self._streams[parallel] = jobs.streams
            return self._streams[parallel]

    def _is_local(self) -> bool:
        return self._settings.is_local or works_for(self._settings)

    def _find_place(self, n_jobs: int) -> Place:
        if self._settings.is_local:
            self._borrowed = n_jobs
            return borrow(n_jobs, self._settings)
        return Place(None, self._settings)

    def _slots_of_cluster(self) -> int:
        """All slots of the server's nodes, once there are any."""
        good_until_s, slots = self._slots
        if time.monotonic() < good_until_s:
            return slots
        from ..lineReceiver.achilles_main import getClusterStatus

        settings = self._settings
        waiting = WaitForNodes(
            self._parameters["startup_timeout"],
            lambda: (
                f"The achilles_server at {settings.endpoint} has no nodes: start some, with `achilles node "
                f"{settings.endpoint}` on each machine."
            ),
        )
        while True:
            status = getClusterStatus(settings.host, settings.port, settings.username, settings.secret_key)
            slots = sum(node["cpu_count"] for node in status.nodes if not node["draining"])
            if slots:
                self._slots = time.monotonic() + SLOTS_FRESH_S, slots
                return slots
            next_s = waiting.look()
            time.sleep(LOOK_AGAIN_S if next_s is None else min(next_s, LOOK_AGAIN_S))
