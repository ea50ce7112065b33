"""A node's end of its connection to the server: handshake, heartbeats, frames."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from ..errors import AuthenticationError, ClusterError, ProtocolError
from ..limits import MAX_PAYLOAD_BYTES
from ..sealed import available
from . import messages as wire
from .handshake import ClientHandshake, error_from
from .local_socket import peer_is_us
from .protocol import AchillesProtocol
from .tls_twisted import peer_binding
from .wire import Buffer, Limits

if TYPE_CHECKING:
    from .node import AchillesNode

__all__ = ["NodeConnection"]

LOGIN_S = 15.0
# A server that stays silent for so many of its heartbeats is gone.
QUIET_HEARTBEATS = 3


class NodeConnection(AchillesProtocol):
    """One connection of a node.

    Args:
        node: Hears of frames and of the end.
        reactor: Twisted's reactor.
    """

    def __init__(self, node: AchillesNode, reactor: Any) -> None:
        super().__init__(reactor)
        self._node = node
        self._reactor = reactor
        self._handshake: ClientHandshake | None = None
        self._allowed = wire.ALLOWED["node", "server"]
        self._error: ClusterError | None = None
        self._heard = True
        self._silence_s = LOGIN_S
        self._watch: Any = reactor.callLater(LOGIN_S, self._watch_silence)
        self._offers_descriptors = False
        self.joined = False

    def connection_ready(self) -> None:
        settings = self._node.settings
        transport: Any = self.transport
        is_tls = hasattr(transport, "getPeerCertificate")
        near = not is_tls and peer_is_us(transport.socket)
        hello = self._node.hello()
        hello.descriptors = hello.shortcuts = self._offers_descriptors = near and available()
        try:
            self._handshake = ClientHandshake(
                hello,
                username=settings.username if settings.secret_key is not None else None,
                secret_key=settings.secret_key,
                channel_binding=peer_binding(transport) if is_tls else None,
                peer_trusted=near,
                host=settings.host,
                port=settings.port,
            )
        except (AuthenticationError, ProtocolError) as error:
            self._error = error
            self.close()
            return
        for message in self._handshake.start():
            self.send(message)

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        super().dataReceived(data)

    def frame_received(self, message: wire.Message, chunks: list[Buffer]) -> None:
        if not self.joined:
            self._shake_hands(message)
            return
        if type(message) not in self._allowed:
            wire.check_allowed(message, self._allowed)
        if isinstance(message, wire.Ping):
            self.send(wire.Pong(message.sent_ns, _load()))
        elif isinstance(message, wire.Error):
            raise error_from(message, self._node.settings.host, self._node.settings.port)
        else:
            self._node.received(message, chunks)

    def _shake_hands(self, message: wire.Message) -> None:
        handshake = self._handshake
        if handshake is None:
            raise ProtocolError("the server spoke before it was asked")
        for answer in handshake.receive(message):
            self.send(answer)
        if handshake.done:
            assert handshake.welcome is not None
            if handshake.welcome.descriptors and self._offers_descriptors:
                self.exchange_descriptors()
            self.joined = True
            self._silence_s = QUIET_HEARTBEATS * handshake.welcome.heartbeat_s
            self._watch.reset(self._silence_s)
            self.set_limits(Limits(payload_bytes=MAX_PAYLOAD_BYTES))
            self._node.joined(self, handshake.welcome)

    def protocol_failed(self, error: ClusterError) -> None:
        """Remember why, tell the server unless it told us, and close."""
        self._error = error
        super().protocol_failed(error)

    def _watch_silence(self) -> None:
        if not self._heard or not self.joined:
            self._watch = None
            transport: Any = self.transport
            if transport is not None:
                transport.abortConnection()
            return
        self._heard = False
        self._watch = self._reactor.callLater(self._silence_s, self._watch_silence)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.joined = False
        self._node.lost(self, self._error)


def _load() -> float:
    """The machine's load average of the last minute, 0 where there is none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return 0.0
