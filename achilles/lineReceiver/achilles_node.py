"""Start an achilles node: this machine's cores, at a server's disposal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.python.failure import Failure

from ..config import DEFAULT_HOST, DEFAULT_PORT, load_settings, with_server, write_config
from ..errors import ConfigError
from ..workers.cores import available_cores
from .node import AchillesNode
from .quick_reactor import install_reactor
from .stopping import stopped_by_interrupts

__all__ = ["genConfig", "runAchillesNode"]

# How long a node that gets SIGTERM finishes what it has begun.
DRAIN_GRACE_S = 10.0


def genConfig(
    host: str | None = None, port: int | None = None, path: str | os.PathLike[str] | None = None
) -> Path:
    """Write HOST and PORT to an ``.env`` file; asks for what is missing.

    Args:
        host: The server's name or IP address.
        port: The server's TCP port.
        path: The file; by default as in `achilles.config.genConfig`.

    Returns:
        The file written; only this user may read it (0600).
    """
    if host is None:
        host = input(f"HOST [{DEFAULT_HOST}]: ").strip() or DEFAULT_HOST
    if port is None:
        port = int(input(f"PORT [{DEFAULT_PORT}]: ").strip() or DEFAULT_PORT)
    checked = load_settings(host=host, port=port)
    return write_config({"HOST": checked.host, "PORT": str(checked.port)}, path)


def runAchillesNode(
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    cpu_count: int | None = None,
) -> None:
    """Run a node in this process, until the server ends it or it is stopped.

    Ctrl-C ends it at once. On SIGTERM it gives back what it has not begun, finishes the rest for up
    to `DRAIN_GRACE_S`, and leaves.

    On the server's machine, as the server's user, host and port are enough; from elsewhere the
    username and the secret key are needed as well. When the server cannot be reached, or is lost, the
    node keeps trying.

    Args:
        host: The server's name or IP address. Missing arguments come from ``ACHILLES_*`` variables
            and ``.env`` files (`achilles.config`).
        port: The server's TCP port.
        username: Who we are, for the server.
        secret_key: The server's secret key.
        cpu_count: Number of worker processes; by default the cores this process may use.

    Raises:
        AuthenticationError: The server does not let us in, or could not prove itself.
        VersionMismatch: The server speaks another version of the protocol.
        ConfigError: A setting is wrong.
    """
    settings = load_settings(host=host, port=port, username=username, secret_key=secret_key)
    settings = with_server(settings)  # a node always needs one
    if cpu_count is None:
        cpu_count = available_cores()
    if type(cpu_count) is not int or cpu_count < 1:
        raise ConfigError(f"cpu_count must be a whole number from 1, not {cpu_count!r}", key="cpu_count")
    install_reactor()
    from twisted.internet import reactor as installed

    reactor: Any = installed
    node = AchillesNode(reactor, settings, cpu_count, installed_path(), _say)
    failures: list[Failure] = []
    grace_s = 0.0

    def politely(signal_number: int, frame: Any) -> None:
        nonlocal grace_s
        grace_s = DRAIN_GRACE_S
        reactor.callFromThread(reactor.stop)

    reactor.addSystemEventTrigger("before", "shutdown", lambda: node.stop(grace_s))
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, politely)
    with stopped_by_interrupts(reactor):
        done = node.start()
        done.addErrback(failures.append)
        done.addCallback(
            lambda _: reactor.stop() if reactor.running else reactor.callWhenRunning(reactor.stop)
        )
        reactor.run()
    if failures:
        failures[0].raiseException()


def installed_path() -> list[str]:
    """``sys.path`` without the directory of the script and the working directory.

    What a user's function imports has to come from the user's own process, not from a file of the
    same name that happens to lie where the node was started.
    """
    script = os.path.dirname(os.path.abspath(sys.argv[0])) if sys.argv and sys.argv[0] else ""
    passing = {"", os.getcwd(), script}
    kept = [entry for entry in sys.path if entry not in passing]
    package_root = str(Path(__file__).resolve().parents[2])
    return kept if package_root in kept else [*kept, package_root]


def _say(line: str) -> None:
    print(line, flush=True)
