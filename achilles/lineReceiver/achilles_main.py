"""The names that a user's program imports: calls, and what one asks of a whole cluster.

``map``, ``imap`` and ``imap_unordered`` live in `achilles.calls`, since they choose between this
machine's cores and a server; they are offered here under their first address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ..calls import imap, imap_unordered, map
from ..config import Settings, genConfig, load_settings, with_server
from . import messages as wire
from .dialling import dial
from .wire import gather

__all__ = [
    "ClusterStatus",
    "genConfig",
    "getClusterStatus",
    "imap",
    "imap_unordered",
    "killCluster",
    "map",
]

ASK_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster at one moment.

    Attributes:
        server: ``host``, ``port``, ``pid``, ``hostname``, ``version``, ``python``, ``started`` (Unix
            time, s), ``controllers`` connected (this call's own connection is one, and programs keep theirs
            for 30 s after a call), ``jobs_finished``, ``platform``.
        nodes: For each node ``id``, ``host``, ``pid``, ``cpu_count``, ``load`` (the machine's load
            average of the last minute), ``tasks_running``, ``tasks_done``, ``version``, ``python``,
            ``draining``, ``connected_since`` (Unix time, s).
        jobs: For each live job ``id``, ``name``, ``controller``, and its tasks: ``done``,
            ``running`` (at nodes), ``waiting`` (for another node), ``failed``; ``input_ended``,
            ``submitted`` (Unix time, s).
    """

    server: dict[str, Any]
    nodes: list[dict[str, Any]]
    jobs: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can carry it."""
        return {"server": self.server, "nodes": self.nodes, "jobs": self.jobs}


def _served(host: str | None, port: int | None, username: str | None, secret_key: str | None) -> Settings:
    """Settings for what needs a server: with none configured, the one on this machine."""
    settings = load_settings(host=host, port=port, username=username, secret_key=secret_key)
    return with_server(settings)


def getClusterStatus(
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
) -> ClusterStatus:
    """Ask the server how its cluster is.

    Args:
        host: The server's host. Missing arguments come from ``ACHILLES_*`` variables and ``.env``
            files (`achilles.config`).
        port: The server's port.
        username: Who asks.
        secret_key: The server's secret key.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be asked.
    """
    link = dial(_served(host, port, username, secret_key))
    try:
        answer = msgspec.json.decode(gather(link.ask(wire.Status(), wire.StatusReply, ASK_TIMEOUT_S)))
    finally:
        link.close()
    return ClusterStatus(answer["server"], answer["nodes"], answer["jobs"])


def killCluster(
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    command_verified: bool = False,
    shutdown_server: bool = False,
) -> int:
    """End all nodes of a cluster, and their workers with them.

    Running jobs wait for new nodes. The server keeps running unless told otherwise.

    Args:
        host: The server's host. Missing arguments come from ``ACHILLES_*`` variables and ``.env``
            files (`achilles.config`).
        port: The server's port.
        username: Who asks.
        secret_key: The server's secret key.
        command_verified: Go ahead without asking at the prompt.
        shutdown_server: End the server as well.

    Returns:
        How many nodes ended; 0 also when the answer at the prompt was not ``YES``.

    Raises:
        ServerUnreachable, AuthenticationError, VersionMismatch: The server cannot be asked.
    """
    settings = _served(host, port, username, secret_key)
    if not command_verified:
        what = "all achilles_nodes and the achilles_server" if shutdown_server else "all achilles_nodes"
        answer = input(f"This ends {what} at {settings.endpoint}. Enter YES to go ahead: ")
        if answer.strip() != "YES":
            print("Nothing was ended.")
            return 0
    link = dial(settings)
    try:
        message, _ = link.ask_for_message(wire.Kill(shutdown_server), wire.Killed, ASK_TIMEOUT_S)
    finally:
        link.close()
    assert isinstance(message, wire.Killed)
    return message.nodes
