"""Where a pool's jobs run: workers of its own on this machine, or the nodes of a server.

A pool on this machine has an embedded engine of its own, so that what its functions leave behind in
their workers is seen by its own calls alone, and ending the pool ends its workers. Within a task it
shares the worker's one engine: there are as many tasks as cores already.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from ..config import Settings, load_settings
from ..engines.choice import CallEngine, engine_for
from ..workers.cores import available_cores
from ..workers.leaving import within_worker
from ..workers.process import WITHIN_NODE

if TYPE_CHECKING:
    from ..engines.local import LocalEngine

__all__ = ["Place", "settings_of"]


class Place:
    """Engines for a pool's jobs.

    Args:
        processes: Workers on this machine; its cores by default. Not used on a cluster.
        settings: Where: what `load_settings` found.
        own: Whether this machine's workers are the pool's own. Else all of this process's calls share them.
    """

    def __init__(self, processes: int | None, settings: Settings, *, own: bool = True) -> None:
        self.settings = settings
        self.processes = processes or available_cores()
        self.budget_bytes = settings.memory_budget_bytes
        self._pid = os.getpid()
        self._own: LocalEngine | None = None
        self._shares = not own or within_worker() or WITHIN_NODE in os.environ
        self._lock = threading.Lock()
        self._closed = False
        if self.is_local and not self._shares:
            self._own = self._start()

    @property
    def is_local(self) -> bool:
        """Whether jobs run on this machine's cores."""
        return self.settings.is_local

    @property
    def origin(self) -> object:
        """Which server it is; None: this machine."""
        if self.is_local:
            return None
        from ..engines.idle_connections import origin_of

        return origin_of(self.settings)

    @property
    def worker_pids(self) -> list[int]:
        """Process numbers of this pool's own workers."""
        return [] if self._own is None else self._own.pids

    def nodes(self) -> list[dict[str, Any]]:
        """The cluster's nodes, as its server tells.

        Raises:
            ServerUnreachable, AuthenticationError, VersionMismatch: It cannot be asked.
        """
        from ..lineReceiver.achilles_main import getClusterStatus

        settings = self.settings
        status = getClusterStatus(settings.host, settings.port, settings.username, settings.secret_key)
        return list(status.nodes)

    def _start(self) -> LocalEngine:
        from ..engines.local import LocalEngine

        return LocalEngine(self.processes)

    def engine(self) -> CallEngine:
        """An engine for one job, to be released.

        Raises:
            ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be used.
            ValueError: The pool has ended.
        """
        if self._closed:
            raise ValueError("Pool not running: it was closed or terminated")
        own = self._own
        return engine_for(self.settings) if own is None else own

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child of the one that made the pool."""
        return os.getpid() != self._pid

    def check_inherited(self) -> None:
        """Raise RuntimeError in such a child."""
        if self.is_inherited:
            raise RuntimeError(
                "this pool belongs to the process that made it, and this is a child that was forked from it: "
                "make a pool here"
            )

    def close(self, *, at_once: bool) -> None:
        """End this pool's own workers: let them leave, or kill them. Harmless when repeated."""
        with self._lock:
            own, self._own = self._own, None
            self._closed = True
            if own is not None:
                own.close(grace_s=0.0 if at_once else None)


def settings_of(
    host: str | None,
    port: int | None,
    username: str | None,
    secret_key: str | None,
    address: str | None,
    memory_budget: int | str | None,
) -> Settings:
    """What is configured, by arguments or elsewhere (see `achilles.config`)."""
    return load_settings(
        host=host,
        port=port,
        username=username,
        secret_key=secret_key,
        address=address,
        memory_budget=memory_budget,
    )
