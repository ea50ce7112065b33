"""One connection at the server: handshake first, then frames of the types its role may send.

Life::

    connected -> ready (TLS is up) -> hello/proof ... -> joined -> frames ... -> left

Until it has joined, a peer has `LOGIN_S` seconds and small frames; and an address that fails too often
is shut out for a while (`Admission`). Afterwards silence ends it: at every heartbeat the server
asks who has been quiet, and drops who stays so.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from .. import __version__
from ..config_values import is_loopback
from ..errors import AuthenticationError, ClusterError, ProtocolError
from ..sealed import available
from . import messages as wire
from .admission import Admission
from .handshake import ServerHandshake, Verifiers, printable
from .local_socket import peer_is_us
from .protocol import AchillesProtocol
from .shared_payloads import MAX_UNHEARD_BYTES
from .wire import Buffer, Limits

if TYPE_CHECKING:
    from .server import AchillesServer

__all__ = ["ConnectionFactory", "ServerConnection"]

_log = logging.getLogger("achilles.server")

LOGIN_S = 10.0
# Shared memory that may be on its way to a silent peer, however small the budget is; see `TELL_BYTES`.
LEAST_UNHEARD_BYTES = 4 * 1024 * 1024
# Quiet heartbeats until a peer is taken for lost. A controller may be busy in native code.
QUIET_NODE = 3
QUIET_CONTROLLER = 12


class ServerConnection(AchillesProtocol):
    """The server's end of one connection.

    Args:
        server: Where frames go.
        verifiers: Who may connect.
        binding: Channel binding of the server's certificate, None on a Unix socket.
        limits: Frame sizes after authentication.
        admission: Counts who waits and who fails.
        login_s: Time for the whole login.
    """

    def __init__(
        self,
        server: AchillesServer,
        verifiers: Verifiers,
        binding: bytes | None,
        limits: Limits,
        admission: Admission,
        login_s: float = LOGIN_S,
    ) -> None:
        super().__init__(server.reactor)
        self._server = server
        self._verifiers = verifiers
        self._binding = binding
        self._limits = limits
        self._admission = admission
        self._login_s = login_s
        self._handshake: ServerHandshake | None = None
        self._allowed: frozenset[type] = frozenset()
        self._login: Any = None
        self._heartbeat: Any = None
        self._heard = True
        self._quiet = 0
        self._near = False
        self._address = ""
        self.hello: wire.Hello | None = None
        self.number = -1
        self.joined = False
        self.load = 0.0
        self.unheard_output_bytes = 0
        self.kept_fetched_bytes = 0  # of what other nodes keep
        self.connected_s = 0.0
        self.takes_shortcuts = False
        self.told_to_exit = False
        self.fell_silent = False
        self._read_bytes = 0

    def connectionMade(self) -> None:
        peer = self.transport.getPeer() if self.transport is not None else None
        self._address = getattr(peer, "host", "")
        self._admission.arrived(self, self._address)
        self._login = self._server.reactor.callLater(self._login_s, self._too_slow)
        super().connectionMade()

    def connection_ready(self) -> None:
        transport: Any = self.transport
        self._near = self._binding is None and peer_is_us(transport.socket)
        self._handshake = ServerHandshake(self._verifiers, self._binding, self._near)

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        self.unheard_output_bytes = 0
        super().dataReceived(data)

    def frame_received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        if not self.joined:
            self._shake_hands(message)
            return
        if type(message) not in self._allowed:
            wire.check_allowed(message, self._allowed)
        if (receiver := self._server.receivers.get(type(message))) is not None:
            receiver(self, message, chunks)
        elif isinstance(message, wire.Ping):
            self.send(wire.Pong(message.sent_ns))
        elif isinstance(message, wire.Pong):
            self.load = message.load
        elif isinstance(message, wire.Error):
            _log.warning("%s reports: %s", self._who(), printable(message.message))
            self.close()

    def _shake_hands(self, message: wire.Message) -> None:
        if isinstance(message, wire.Error):
            # The client gave up: it has no key, or does not trust us. No guess was made, and what a
            # stranger writes does not belong in the log.
            _log.info("%s gave up before it was authenticated", self._who())
            self.close()
            return
        handshake = self._handshake
        if handshake is None:
            raise ProtocolError("nothing may be said before TLS is established")
        for answer in handshake.receive(message):
            if isinstance(answer, wire.Welcome):
                assert handshake.hello is not None
                self._join(handshake.hello, answer)
            else:
                self.send(answer)

    def _join(self, hello: wire.Hello, welcome: wire.Welcome) -> None:
        self._end_login()
        self.set_limits(self._limits)
        self.hello = hello
        self.joined = True
        self.connected_s = time.time()
        self._allowed = wire.ALLOWED["server", hello.role]
        self.number = self._server.joined(self, hello)
        welcome.client_id = self.number
        welcome.open_connections = len(self._server.nodes) + len(self._server.controllers)
        welcome.version = __version__
        welcome.nodes, welcome.slots = self._server.capacity()
        welcome.heartbeat_s = self._server.heartbeat_s
        welcome.descriptors = self._near and hello.descriptors and available()
        if welcome.descriptors:
            self.exchange_descriptors(
                max(LEAST_UNHEARD_BYTES, min(self._server.budget_bytes, MAX_UNHEARD_BYTES))
            )
        self.takes_shortcuts = welcome.descriptors and hello.shortcuts
        welcome.job_options, welcome.calls, welcome.lent = wire.JOB_OPTIONS, True, True
        welcome.offers = self._server.offers()
        self.send(welcome)
        self._heartbeat = self._server.reactor.callLater(self._server.heartbeat_s, self._beat)
        self._server.ready(self, self.number, hello)

    def _beat(self) -> None:
        assert self.hello is not None
        self._quiet = 0 if self._heard else self._quiet + 1
        self._heard = False
        if self._quiet >= (QUIET_NODE if self.hello.role == "node" else QUIET_CONTROLLER):
            silence_s = self._quiet * self._server.heartbeat_s
            self._heartbeat = None
            self.fell_silent = True
            self.drop(f"has been silent for {silence_s:g} s")
            return
        self._heartbeat = self._server.reactor.callLater(self._server.heartbeat_s, self._beat)
        read_bytes = self.handed_bytes - self.unsent_bytes
        reads = read_bytes > self._read_bytes or not self.unsent_bytes
        self._read_bytes = read_bytes
        self.send(wire.Ping(time.monotonic_ns()))
        if self.hello.role == "controller":
            self._server.controller_seen(self, reads)

    def _too_slow(self) -> None:
        self._login = None
        self.protocol_failed(AuthenticationError(f"no proof of the secret key within {self._login_s:g} s"))

    def protocol_failed(self, error: ClusterError) -> None:
        """Say why, close, and remember who failed."""
        self._note_failure(error)
        super().protocol_failed(error)

    def _note_failure(self, error: Any) -> None:
        # The peer is told how its line began; a log is not, since that may be payload.
        said = error.fields.get("logged", error) if isinstance(error, ClusterError) else error
        counts = not self.joined and bool(self._address)
        if not counts or self._admission.failed(self._address, time.monotonic()):
            _log.warning("%s is refused: %s", self._who(), said)

    def make_room(self) -> None:
        """End at once: too many others wait."""
        self._abort()

    def drop(self, why: str) -> None:
        """End at once a connection that reads nothing, not even why."""
        _log.warning("%s %s: dropped", self._who(), why)
        self._abort()

    def _abort(self) -> None:
        assert self.transport is not None
        self.transport.abortConnection()

    @property
    def names(self) -> tuple[str, ...]:
        """What jobs may ask for this node by: the name it gave, and where it connected from."""
        assert self.hello is not None
        address = self._address.removeprefix("::ffff:") or "127.0.0.1"
        near = ("localhost",) if is_loopback(address) else ()
        return tuple(dict.fromkeys([name for name in (self.hello.host, address, *near) if name]))

    @property
    def is_node(self) -> bool:
        """Whether a node is at the other end."""
        return self.hello is not None and self.hello.role == "node"

    @property
    def keeps(self) -> bool:
        """Whether it knows that results may stay at nodes."""
        return self.hello is not None and self.hello.job_options >= wire.KEEPS_OPTION

    def _who(self) -> str:
        address = self._address or "the local socket"
        if self.hello is None:
            return f"a peer at {address}"
        return f"{self.hello.role} {self.number} at {address}"

    def _end_login(self) -> None:
        self._admission.left(self)
        if self._login is not None and self._login.active():
            self._login.cancel()
        self._login = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self.hello is None:
            self._end_login()
            if self._handshake is None and type(reason.value).__module__ == "OpenSSL.SSL":
                self._note_failure(f"TLS 1.3 was not established: {printable(str(reason.value))[:200]}")
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None
        if self.joined:
            self.joined = False
            assert self.hello is not None
            self._server.left(self, self.number, self.hello.role)


class ConnectionFactory(Factory):
    """Builds connections for one port.

    Args: as of `ServerConnection`.
    """

    noisy = False

    def __init__(
        self,
        server: AchillesServer,
        verifiers: Verifiers,
        binding: bytes | None,
        limits: Limits,
        admission: Admission,
        login_s: float = LOGIN_S,
    ) -> None:
        self._arguments = (server, verifiers, binding, limits, admission, login_s)

    def buildProtocol(self, addr: Any) -> ServerConnection | None:
        admission = self._arguments[4]
        if not admission.admits(getattr(addr, "host", ""), time.monotonic()):
            return None
        connection = ServerConnection(*self._arguments)
        connection.factory = self
        return connection
