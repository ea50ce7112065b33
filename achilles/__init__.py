"""multiprocessing.Pool for every core you can reach.

::

    from achilles import map, imap, imap_unordered

The names below are imported when they are first asked for: ``import achilles`` alone starts
nothing and loads neither Twisted nor dill, so it costs nothing to write at the top of a module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from achilles import errors
from achilles.errors import (
    AchillesError,
    AuthenticationError,
    BroadcastLost,
    ClusterError,
    ConfigError,
    KeptLost,
    NoNodesError,
    ProtocolError,
    RemoteError,
    SerializationError,
    ServerUnreachable,
    TaskError,
    TaskTimeout,
    UnsupportedByEngine,
    VersionMismatch,
)

if TYPE_CHECKING:
    from achilles.broadcast import Broadcast
    from achilles.calls import imap, imap_unordered, map
    from achilles.config import genConfig
    from achilles.initializer_error import InitializerError
    from achilles.kept import Kept
    from achilles.lineReceiver.achilles_main import getClusterStatus, killCluster
    from achilles.lineReceiver.achilles_node import runAchillesNode
    from achilles.lineReceiver.achilles_server import runAchillesServer
    from achilles.pool.executor import Executor
    from achilles.pool.pool import Pool
    from achilles.scheduling.decorator import schedule
    from achilles.scheduling.functional import functional
    from achilles.task_cancelled import TaskCancelled
    from achilles.worker_died_error import WorkerDiedError

__version__ = "0.1.0"

__all__ = [
    "AchillesError",
    "AuthenticationError",
    "Broadcast",
    "BroadcastLost",
    "ClusterError",
    "ConfigError",
    "Executor",
    "InitializerError",
    "Kept",
    "KeptLost",
    "NoNodesError",
    "Pool",
    "ProtocolError",
    "RemoteError",
    "SerializationError",
    "ServerUnreachable",
    "TaskCancelled",
    "TaskError",
    "TaskTimeout",
    "UnsupportedByEngine",
    "VersionMismatch",
    "WorkerDiedError",
    "__version__",
    "errors",
    "functional",
    "genConfig",
    "getClusterStatus",
    "imap",
    "imap_unordered",
    "killCluster",
    "map",
    "runAchillesNode",
    "runAchillesServer",
    "schedule",
]

_HOMES = {
    "Broadcast": "achilles.broadcast",
    "Executor": "achilles.pool.executor",
    "InitializerError": "achilles.initializer_error",
    "Kept": "achilles.kept",
    "Pool": "achilles.pool.pool",
    "TaskCancelled": "achilles.task_cancelled",
    "WorkerDiedError": "achilles.worker_died_error",
    "functional": "achilles.scheduling.functional",
    "genConfig": "achilles.config",
    "getClusterStatus": "achilles.lineReceiver.achilles_main",
    "imap": "achilles.calls",
    "imap_unordered": "achilles.calls",
    "killCluster": "achilles.lineReceiver.achilles_main",
    "map": "achilles.calls",
    "runAchillesNode": "achilles.lineReceiver.achilles_node",
    "runAchillesServer": "achilles.lineReceiver.achilles_server",
    "schedule": "achilles.scheduling.decorator",
}


# Faces that are modules of their own.
_MODULES = {"aio", "deferreds"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"achilles.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found  # the next look-up is an ordinary one
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
