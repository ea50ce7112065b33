"""Every exception that achilles raises.

::

    AchillesError
      ConfigError                        a setting is missing or wrong: which key, from where
      ClusterError
        ServerUnreachable                nothing answers at the address (also a ConnectionError)
        AuthenticationError              the proof of the secret failed, on either side
        ProtocolError                    the peer sent what the protocol does not allow
        VersionMismatch                  the two sides cannot understand each other's versions
        NoNodesError                     no node came in time that can run the job (also a TimeoutError)
      SerializationError                 an object cannot travel: which one, by which path
      BroadcastLost                      what a Broadcast stands for cannot be had: which one, why
      TaskError
        WorkerDiedError                  the worker died while it ran the item (also a BrokenProcessPool)
        TaskTimeout                      the item ran longer than allowed (also a TimeoutError)
        TaskCancelled                    the job was cancelled (also a futures.CancelledError)
        InitializerError                 a pool's initializer raised (also a BrokenProcessPool)
        KeptLost                         a value that was kept where it was made is gone: where, why
        RemoteError                      stands for an exception that could not travel itself
      UnsupportedByEngine                the engine behind the address cannot do this

Every error carries its fields as attributes, pickles, and says what happened and what to do
next. The user's own exceptions are never wrapped: they are raised as themselves, with the remote
traceback as their cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from achilles.task_cancelled import TaskCancelled
    from achilles.worker_died_error import WorkerDiedError

__all__ = [
    "AchillesError",
    "AuthenticationError",
    "BroadcastLost",
    "ClusterError",
    "ConfigError",
    "KeptLost",
    "NoNodesError",
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
]


def _rebuild(cls: type[AchillesError], message: str, fields: dict[str, Any]) -> AchillesError:
    return cls(message, **fields)


class AchillesError(Exception):
    """Base of all errors of this package.

    Args:
        message: What happened and what to do next, in a sentence or two.
        **fields: Facts a program may want; each becomes an attribute.
    """

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        # Only reached when normal look-up fails; "fields" itself is missing while unpickling.
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> tuple[Callable[..., AchillesError], tuple[Any, ...]]:
        return _rebuild, (type(self), str(self.args[0]), self.fields)


class ConfigError(AchillesError):
    """A setting is missing or wrong. Fields: ``key``, ``source``."""


class ClusterError(AchillesError):
    """The cluster, rather than the user's function, failed."""


class ServerUnreachable(ClusterError, ConnectionError):
    """Nothing answers at the server's address. Fields: ``host``, ``port``."""


class AuthenticationError(ClusterError):
    """The proof of the secret key failed, or none was given. Fields: ``host``, ``port``."""


class ProtocolError(ClusterError):
    """The peer sent something the line protocol does not allow."""


class VersionMismatch(ClusterError):
    """Two sides run versions that cannot work together. Fields: ``ours``, ``theirs``."""


class NoNodesError(ClusterError, TimeoutError):
    """No node joined the server in time, or none that the job may run on. Field: ``waited_s``, if known."""


class SerializationError(AchillesError):
    """An object cannot be turned into bytes, or back.

    Fields: ``subject`` (what it was, such as ``argument 7``), ``path`` (where inside it the
    trouble lies, such as ``['lock']``).
    """


class BroadcastLost(AchillesError):
    """What a `Broadcast` stands for cannot be had any more. Fields: ``sha256``, ``size_bytes``."""


class TaskError(AchillesError):
    """One item could not be computed. Field: ``index``, the item's number (0-based)."""


class TaskTimeout(TaskError, TimeoutError):
    """The item ran longer than its time limit. Fields: ``index``, ``limit_s``, ``node``."""


class KeptLost(TaskError):
    """What a `Kept` stands for cannot be had any more.

    Fields: ``node`` (where it was, ``""`` on this machine's workers), ``size_bytes``, ``reason``.
    """


class RemoteError(TaskError):
    """Stands for an exception that could not be sent back as itself.

    Fields: ``index``, ``type_name``, ``text``, ``traceback`` (all strings but the index).
    """


class UnsupportedByEngine(AchillesError):
    """The chosen engine cannot do what was asked. Field: ``engine``."""


def __getattr__(name: str) -> Any:
    # Those that are also errors of `concurrent.futures`, which nobody should load who needs neither.
    if name == "TaskCancelled":
        from achilles.task_cancelled import TaskCancelled

        return TaskCancelled
    if name == "WorkerDiedError":
        from achilles.worker_died_error import WorkerDiedError

        return WorkerDiedError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
