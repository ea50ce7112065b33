"""Which engine an address stands for."""

from __future__ import annotations

from typing import Protocol

from ..config import Settings
from ..config_values import LOCAL
from .engine import Engine

__all__ = ["CallEngine", "engine_for"]


class CallEngine(Engine, Protocol):
    """An engine held for the length of one call."""

    def release(self) -> None:
        """Let it go; harmless when repeated."""


def engine_for(settings: Settings) -> CallEngine:
    """The engine behind the settings: this machine's cores, or a connection to a server.

    Within a task, the server that the task came from stands for the worker's own cores (`nesting`).

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be used.
    """
    if settings.is_local:
        from .local import local_engine

        return local_engine()
    from .cluster import cluster_engine
    from .nesting import works_for

    if works_for(settings):
        return engine_for(settings._replace(address=LOCAL))
    return cluster_engine(settings)
