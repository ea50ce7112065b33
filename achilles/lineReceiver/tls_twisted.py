"""TLS 1.3 on Twisted: contexts, and a port that tells TLS from anything else.

See :mod:`~achilles.lineReceiver.tls` for why no context here verifies a certificate.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, PrivateCertificate, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from achilles.errors import ProtocolError
from achilles.lineReceiver.messages import Error, encode
from achilles.lineReceiver.protocol import Clock, DelayedCall, Lingering, reactor_time
from achilles.lineReceiver.tls import ServerCertificate, end_point_binding

__all__ = [
    "SniffingFactory",
    "SniffingProtocol",
    "client_options",
    "client_tls_factory",
    "peer_binding",
    "server_options",
]

FIRST_BYTE_S = 10.0
"""How long a connection may stay silent before it has to begin TLS."""

TLS_HANDSHAKE_RECORD = 0x16

_NOT_TLS = "this port speaks TLS 1.3 (and inside it the achilles line protocol); what came is not TLS"


def server_options(certificate: ServerCertificate) -> CertificateOptions:
    """The server's side of a TLS connection."""
    private: Any = PrivateCertificate.loadPEM(  # type: ignore[no-untyped-call] # Twisted has no types here
        certificate.pem_path.read_bytes()
    )
    return CertificateOptions(
        privateKey=private.privateKey.original,
        certificate=private.original,
        raiseMinimumTo=TLSVersion.TLSv1_3,
    )


def client_options() -> CertificateOptions:
    """A Twisted client's side. Check :func:`peer_binding`: this verifies nothing by itself."""
    return CertificateOptions(verify=False, raiseMinimumTo=TLSVersion.TLSv1_3)


def client_tls_factory(factory: Factory, clock: Clock | None = None) -> TLSMemoryBIOFactory:
    """A client's factory, with TLS around each of its connections."""
    return _tls_factory(client_options(), True, factory, clock)


def _tls_factory(options: Any, is_client: bool, factory: Any, clock: Any) -> TLSMemoryBIOFactory:
    # Any: these implement zope interfaces, which a type checker cannot see.
    return TLSMemoryBIOFactory(options, is_client, factory, clock)


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

    def __init__(self, tls_factory: TLSMemoryBIOFactory, address: IAddress | None, clock: Clock) -> None:
        self._tls_factory = tls_factory
        self._address = address
        self._clock = clock
        self._lingering = Lingering(clock)
        self._silence: DelayedCall | None = None
        self._inner: Any = None

    def connectionMade(self) -> None:
        self._silence = self._clock.callLater(FIRST_BYTE_S, self._give_up)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self._lingering.closing:
            return
        self._end_silence()
        if data[0] != TLS_HANDSHAKE_RECORD:
            self.transport.write(encode(Error("protocol", _NOT_TLS)))
            self._lingering.close(self.transport)
            return
        inner: Any = self._tls_factory.buildProtocol(self._address)
        if inner is None:  # the inner factory takes no more connections
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

    def _end_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


class SniffingFactory(Factory):
    """What a server listens with on its TCP port.

    Args:
        factory: Builds the connections inside TLS; each sees a TLS transport.
        certificate: The server's.
        clock: The global reactor if None.
    """

    noisy = False

    def __init__(self, factory: Factory, certificate: ServerCertificate, clock: Clock | None = None) -> None:
        self._clock = reactor_time(clock)
        self._tls_factory: Any = _tls_factory(server_options(certificate), False, factory, self._clock)

    def buildProtocol(self, addr: IAddress | None) -> SniffingProtocol:
        protocol = SniffingProtocol(self._tls_factory, addr, self._clock)
        protocol.factory = self
        return protocol

    def startFactory(self) -> None:
        self._tls_factory.doStart()

    def stopFactory(self) -> None:
        self._tls_factory.doStop()
