"""TLS 1.3 on Twisted: contexts, and a port that tells TLS from anything else.

See :mod:`~achilles.lineReceiver.tls` for why no context here verifies a certificate.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped] # ships no types

from achilles.errors import ProtocolError
from achilles.lineReceiver.admission import Admission
from achilles.lineReceiver.messages import Error, encode
from achilles.lineReceiver.protocol import Clock, DelayedCall, Lingering, reactor_time
from achilles.lineReceiver.tls import ServerCertificate, end_point_binding
from achilles.lineReceiver.tls_stream import TlsStreamFactory

__all__ = [
    "SniffingFactory",
    "SniffingProtocol",
    "client_tls_factory",
    "peer_binding",
]

_log = logging.getLogger("achilles.server")

FIRST_BYTE_S = 10.0
"""How long a connection may stay silent before it has to begin TLS."""

TLS_HANDSHAKE_RECORD = 0x16

ENABLE_PARTIAL_WRITE = 1
"""OpenSSL's ``SSL_MODE_ENABLE_PARTIAL_WRITE``, which pyOpenSSL sets and does not name."""

_NOT_TLS = "this port speaks TLS 1.3 (and inside it the achilles line protocol); what came is not TLS"


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class _Connections:
    """Makes the OpenSSL end of each connection; Twisted's own options lean on deprecated calls."""

    def __init__(self, pem_path: Path | None) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        # Nothing is resumed: every connection shows the certificate and proves the key afresh.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_TICKET)
        # Most connections are silent most of the time, and OpenSSL keeps 34 KiB of buffers for each.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # Otherwise pyOpenSSL has each call encrypt one record alone. Old versions cannot help it.
        if hasattr(context, "clear_mode"):
            context.clear_mode(ENABLE_PARTIAL_WRITE)
        if pem_path is not None:
            context.use_certificate_chain_file(str(pem_path))
            context.use_privatekey_file(str(pem_path))
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802 - Twisted's name
        return SSL.Connection(self._context, None)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802 - Twisted's name
        return SSL.Connection(self._context, None)


def client_tls_factory(factory: Factory[Any], clock: Clock | None = None) -> Any:
    """A client's factory with TLS around each of its connections, to give to an endpoint.

    Check :func:`peer_binding` on each: the context verifies nothing by itself.
    """
    return _tls_factory(_Connections(None), True, factory, clock)


def _tls_factory(connections: Any, is_client: bool, factory: Any, clock: Any) -> Any:
    # Any: these implement zope interfaces, which a type checker cannot see.
    return TlsStreamFactory(connections, is_client, factory, clock)


def peer_binding(transport: Any) -> bytes:
    """The channel binding of the certificate that the server showed on this Twisted connection.

    Raises:
        ProtocolError: It showed none, or TLS is not established yet.
    """
    certificate = transport.getPeerCertificate()
    if certificate is None:
        raise ProtocolError("the server showed no TLS certificate")
    from cryptography.hazmat.primitives.serialization import Encoding

    return end_point_binding(certificate.to_cryptography().public_bytes(Encoding.DER))


class SniffingProtocol(Protocol):
    """Waits for one byte: TLS goes on to the inner factory, anything else gets one error line.

    So a person with netcat, an old client or a port scanner sees why it is refused instead of
    the binary of a TLS alert.
    """

    transport: Any  # zope's interfaces say nothing to a type checker

    def __init__(
        self,
        tls_factory: Any,
        address: IAddress | None,
        clock: Clock,
        admission: Admission,
        first_byte_s: float,
    ) -> None:
        self._tls_factory = tls_factory
        self._address = address
        self._clock = clock
        self._admission = admission
        self._first_byte_s = first_byte_s
        self._lingering = Lingering(clock)
        self._silence: DelayedCall | None = None
        self._inner: Any = None

    def connectionMade(self) -> None:
        self._admission.arrived(self, getattr(self._address, "host", ""))
        self._silence = self._clock.callLater(self._first_byte_s, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._lingering.closing:
            return
        self._end_silence()
        if data[0] != TLS_HANDSHAKE_RECORD:
            host = getattr(self._address, "host", "")
            # No guess was made. A scanner may come again and again, so this is not for everybody's log.
            _log.info("a peer at %s is refused: what it sent is not TLS", host)
            self.transport.write(encode(Error("protocol", _NOT_TLS)))
            self._lingering.close(self.transport)
            return
        inner: Any = self._tls_factory.buildProtocol(self._address)
        if inner.wrappedProtocol is None:  # the inner factory takes no more connections
            self._lingering.close(self.transport)
            return
        self._inner = inner
        # From now on the socket talks to TLS without us; only the loss of the connection is told twice.
        self.dataReceived = inner.dataReceived  # type: ignore[method-assign]
        inner.makeConnection(self.transport)
        inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end_silence()
        self._lingering.closed()
        inner, self._inner = self._inner, None
        if inner is not None:
            del self.dataReceived
            inner.connectionLost(reason)

    def _give_up(self) -> None:
        self._silence = None
        self.transport.abortConnection()

    def make_room(self) -> None:
        """End at once: too many others wait."""
        self.transport.abortConnection()

    def _end_silence(self) -> None:
        self._admission.left(self)  # from now on the connection inside TLS waits, or nobody
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


class SniffingFactory(Factory):
    """What a server listens with on its TCP port.

    Args:
        factory: Builds the connections inside TLS; each sees a TLS transport.
        certificate: The server's.
        clock: The global reactor if None.
        admission: Counts who waits and who fails; shared with the connections inside.
        first_byte_s: How long a connection may stay silent.
    """

    noisy = False

    def __init__(
        self,
        factory: Factory[Any],
        certificate: ServerCertificate,
        clock: Clock | None = None,
        admission: Admission | None = None,
        first_byte_s: float = FIRST_BYTE_S,
    ) -> None:
        self._admission = admission or Admission()
        self._first_byte_s = first_byte_s
        self._clock = reactor_time(clock)
        self._tls_factory = _tls_factory(_Connections(certificate.pem_path), False, factory, self._clock)

    def buildProtocol(self, addr: IAddress | None) -> SniffingProtocol | None:
        if not self._admission.admits(getattr(addr, "host", ""), time.monotonic()):
            return None
        protocol = SniffingProtocol(self._tls_factory, addr, self._clock, self._admission, self._first_byte_s)
        protocol.factory = self
        return protocol

    def startFactory(self) -> None:
        self._tls_factory.doStart()

    def stopFactory(self) -> None:
        self._tls_factory.doStop()
