"""Start an achilles server: `runAchillesServer` in a script, `server_service` under Twisted's tools."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError

from ..config import (
    Settings,
    format_address,
    genConfig,
    is_loopback,
    load_server_settings,
    new_secret_key,
    require_strong_key,
    state_home,
)
from ..errors import ConfigError
from ..limits import MAX_PAYLOAD_BYTES
from . import local_socket
from .admission import Admission
from .handshake import Verifiers
from .quick_reactor import install_reactor
from .server import HEARTBEAT_S, AchillesServer
from .server_connection import LOGIN_S, ConnectionFactory
from .stopping import stopped_by_interrupts
from .tls import fingerprint, server_certificate
from .tls_twisted import SniffingFactory
from .wire import Limits

__all__ = ["ServerService", "genConfig", "runAchillesServer", "server_service"]

_log = logging.getLogger("achilles.server")

BACKLOG = 1024
CLOSE_TIMEOUT_S = 3.0


class ServerService(Service):
    """A server as Twisted runs services: starts listening, stops with everything closed.

    Args:
        settings: Where to listen and who may connect. Without a secret key one is made.
        reactor: Twisted's reactor.
        on_shutdown: Called when a controller asked the server to stop (``killCluster``).
        heartbeat_s: As of `runAchillesServer`.
        admission: Who may try to log in; one with `Admission`'s own figures if None.
        login_s: Time that a peer has for its login.

    Attributes:
        server: The running server, once started.
        settings: The settings in force: with the port and the key that were made up.
        key_made: Whether the key was made for this run.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: Any = None,
        on_shutdown: Callable[[], None] | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        admission: Admission | None = None,
        login_s: float = LOGIN_S,
    ) -> None:
        if not 0 < heartbeat_s <= 3600:
            raise ConfigError(f"heartbeat_s must be from 0 to 3600 s, not {heartbeat_s!r}", key="heartbeat_s")
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._on_shutdown = on_shutdown
        self._heartbeat_s = heartbeat_s
        self._admission = admission or Admission()
        self._login_s = login_s
        self._ports: list[Any] = []
        self._connection_file: local_socket.ConnectionFile | None = None
        self.key_made = settings.secret_key is None
        if self.key_made:
            settings = settings._replace(secret_key=new_secret_key())
        require_strong_key(settings)
        if settings.node_secret_key is not None:
            require_strong_key(settings._replace(secret_key=settings.node_secret_key))
            if settings.node_username == settings.username:
                raise ConfigError(
                    "NODE_USERNAME and USERNAME are the same: give nodes a name of their own",
                    key="NODE_USERNAME",
                    source=settings.sources.get("NODE_USERNAME", "default"),
                )
        self.settings = settings
        self.server: AchillesServer | None = None

    def startService(self) -> None:
        """Listen on the TCP port and on the local socket.

        Raises:
            ConfigError: The address cannot be listened on; which, and why.
        """
        settings = self.settings
        name = f"{settings.host}-{settings.port}".replace(":", "_").replace("*", "_")
        certificate = server_certificate(state_home() / "certificates", name)
        verifiers = Verifiers(settings.username, settings.secret_key)
        if settings.node_secret_key is not None and settings.secret_key is not None:
            verifiers.add(settings.username, settings.secret_key, ["controller"])
            verifiers.add(settings.node_username, settings.node_secret_key, ["node"])
        limits = Limits(payload_bytes=MAX_PAYLOAD_BYTES)
        server = AchillesServer(
            self._reactor,
            settings.endpoint,
            self._shut_down,
            self._heartbeat_s,
            settings.memory_budget_bytes,
        )
        inner = ConnectionFactory(
            server, verifiers, certificate.binding, limits, self._admission, self._login_s
        )
        outer = SniffingFactory(inner, certificate, self._reactor, self._admission, self._login_s)
        port = self._listen(outer)
        self.settings = settings._replace(port=port.getHost().port)
        server.endpoint = self.settings.endpoint
        self.server = server
        if local_socket.enabled():
            near = ConnectionFactory(server, verifiers, None, limits, self._admission, self._login_s)
            self._listen_locally(near, fingerprint(certificate.der))
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's

    def stopService(self) -> Deferred[Any]:
        """Stop listening and close all connections."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        closing = [port.stopListening() for port in self._ports]
        self._ports = []
        if self.server is not None:
            closing.append(self.server.close(CLOSE_TIMEOUT_S))
        stopped = DeferredList([each for each in closing if each is not None])
        # Closing the port removes the socket; whoever finds the file meanwhile goes on to TCP.
        stopped.addCallback(self._remove_connection_file)
        return stopped

    def _remove_connection_file(self, result: Any) -> Any:
        if self._connection_file is not None:
            local_socket.remove_connection_file(self._connection_file)
            self._connection_file = None
        return result

    def _listen(self, factory: SniffingFactory) -> Any:
        settings = self.settings
        try:
            address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][4][0]
            port = self._reactor.listenTCP(settings.port, factory, BACKLOG, str(address))
        except CannotListenError as error:
            raise ConfigError(
                f"the server cannot listen on {settings.endpoint}: {error.socketError}; choose another "
                f"port, or stop what uses it",
                key="PORT",
                source=settings.sources.get("PORT", "default"),
            ) from error
        except OSError as error:
            raise ConfigError(
                f"the server cannot listen on {settings.endpoint}: {error.strerror or error}; give "
                f"an address of this machine as host",
                key="HOST",
                source=settings.sources.get("HOST", "default"),
            ) from error
        self._ports.append(port)
        return port

    def _listen_locally(self, factory: ConnectionFactory, certificate: str) -> None:
        """Same user, same machine: a socket that only this user can reach."""
        host, port = self.settings.host, self.settings.port
        try:
            path = local_socket.prepare_socket_path(host, port)
            self._ports.append(self._reactor.listenUNIX(str(path), factory, BACKLOG, mode=0o600))
            self._connection_file = local_socket.write_connection_file(host, port, path, certificate)
        except (ConfigError, OSError, CannotListenError) as error:
            _log.warning("no local socket, so nodes on this machine need the key too: %s", error)

    def _shut_down(self) -> None:
        if self._on_shutdown is not None:
            self._on_shutdown()
        else:
            self._reactor.stop()


def server_service(settings: Settings) -> ServerService:
    """The service behind `runAchillesServer`, for ``twist achilles-server`` and Twisted programs."""
    return ServerService(settings)


def runAchillesServer(
    host: str | None = None,
    port: int | None = None,
    username: str | None = None,
    secret_key: str | None = None,
    *,
    heartbeat_s: float = HEARTBEAT_S,
    memory_budget: int | str | None = None,
) -> None:
    """Run an achilles server in this process, until it is stopped (Ctrl-C, SIGTERM, ``killCluster``).

    Args:
        host: Address to listen on. Missing arguments come from ``ACHILLES_*`` variables and
            ``.env`` files (`achilles.config`); with no host configured, every address.
        port: TCP port, 9999 by default; 0 takes any free one.
        username: Name that nodes and controllers prove themselves under.
        secret_key: The key they prove. Without one, a key is made and printed with the commands
            to run on other machines.
        heartbeat_s: How often nodes and controllers are asked whether they are there. A node that
            stays silent three times is taken for lost, and its work goes to others.
        memory_budget: How much payload may lie at nodes for one job, and wait here for all
            controllers that read nothing, in bytes or as ``"2G"``. By default as configured.

    Raises:
        ConfigError: The address cannot be used, or the key is too weak for an address that other
            machines can reach.
    """
    settings = load_server_settings(
        host=host, port=port, username=username, secret_key=secret_key, memory_budget=memory_budget
    )
    install_reactor()
    from twisted.internet import reactor as installed

    reactor: Any = installed
    service = ServerService(settings, reactor, heartbeat_s=heartbeat_s)
    _allow_many_connections()
    with stopped_by_interrupts(reactor):
        service.startService()
        reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
        print(f"ALERT: achilles_server initiated at {service.settings.endpoint}")
        print("Listening for connections...", flush=True)
        if service.key_made:
            _print_join_commands(service.settings)
        reactor.run()


def _allow_many_connections() -> None:
    """Ask for as many descriptors as this user may have; a shell's limit is often 1024."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _print_join_commands(settings: Settings) -> None:
    """How to join with a key that nobody has seen yet."""
    where = settings.endpoint
    print()
    print("No secret key was configured, so one was made for this run.")
    print("On this machine, as this user, nodes and controllers need no key:")
    print(f"    achilles node {_reachable(settings)}")
    if not is_loopback(settings.host):
        where = format_address(socket.gethostname(), settings.port)
        print("On other machines:")
        print(f"    export ACHILLES_USERNAME={settings.username} ACHILLES_SECRET_KEY={settings.secret_key}")
        print(f"    achilles node {where}", flush=True)


def _reachable(settings: Settings) -> str:
    everywhere = settings.host in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
    return format_address("127.0.0.1" if everywhere else settings.host, settings.port)
