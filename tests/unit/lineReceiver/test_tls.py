"""TLS 1.3 between every pair of ends, bound to the proof of the secret; all in memory."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from achilles.errors import AuthenticationError, ClusterError, ConfigError, ProtocolError
from achilles.lineReceiver.handshake import ClientHandshake, ServerHandshake, Verifiers
from achilles.lineReceiver.messages import PROTOCOL, Error, Hello, Message
from achilles.lineReceiver.protocol import LINGER_S, AchillesProtocol
from achilles.lineReceiver.tls import (
    ServerCertificate,
    client_context,
    end_point_binding,
    fingerprint,
    server_certificate,
)
from achilles.lineReceiver.tls_twisted import FIRST_BYTE_S, SniffingFactory, client_tls_factory, peer_binding
from achilles.lineReceiver.wire import Buffer, FrameParser, frame_segments

ADDRESS = IPv4Address("TCP", "127.0.0.1", 9999)
VERIFIERS = Verifiers("foo", "bar")
HELLO = Hello(PROTOCOL, "node")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("state") / "tls", "server")


@pytest.fixture(scope="module")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("state"), "man-in-the-middle")


class Transport(StringTransport):
    aborted = half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True

    def take(self) -> bytes:
        taken: bytes = self.value()
        self.clear()
        return taken


class ServerEnd(AchillesProtocol):
    """Does the handshake as a server's body would."""

    def __init__(self, binding: bytes, clock: Clock) -> None:
        super().__init__(clock)
        self.handshake = ServerHandshake(VERIFIERS, binding)
        self.ready = 0

    def connection_ready(self) -> None:
        self.ready += 1

    def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
        for answer in self.handshake.receive(message):
            self.send(answer)


class TwistedClient(AchillesProtocol):
    """Does it as a node's body would."""

    handshake: ClientHandshake
    error: ClusterError | None = None

    def connection_ready(self) -> None:
        binding = peer_binding(self.transport)
        self.handshake = ClientHandshake(HELLO, username="foo", secret_key="bar", channel_binding=binding)
        for message in self.handshake.start():
            self.send(message)

    def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
        for answer in self.handshake.receive(message):
            self.send(answer)

    def protocol_failed(self, error: ClusterError) -> None:
        self.error = error
        super().protocol_failed(error)


class Listening:
    """A server's port, with one connection to it, in memory."""

    def __init__(self, shown: ServerCertificate, bound_to: ServerCertificate | None = None) -> None:
        self.clock = Clock()
        self.inner: list[ServerEnd] = []
        binding = (bound_to or shown).binding

        def build() -> ServerEnd:
            self.inner.append(ServerEnd(binding, self.clock))
            return self.inner[-1]

        self.factory = SniffingFactory(Factory.forProtocol(build), shown, self.clock)
        self.factory.doStart()
        self.protocol = self.factory.buildProtocol(ADDRESS)
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Deliver bytes; return what the server answers by the end of this reactor turn."""
        if data:
            self.protocol.dataReceived(data)
        self.clock.advance(0)
        return self.transport.take()

    @property
    def server(self) -> ServerEnd:
        return self.inner[0]


class StdlibClient:
    """A plain ``ssl`` client over memory BIOs, as the controller's socket behaves."""

    def __init__(self, listening: Listening, context: ssl.SSLContext | None = None) -> None:
        self.listening = listening
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(self.incoming, self.outgoing)
        self.parser = FrameParser()

    def _turn(self, step: Callable[[], Any]) -> Any:
        for _ in range(10):
            try:
                return step()
            except ssl.SSLWantReadError:
                self.incoming.write(self.listening.send(self.outgoing.read()))
        raise AssertionError("the server does not answer")

    def establish(self) -> bytes:
        self._turn(self.tls.do_handshake)
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return end_point_binding(der)

    def exchange(self, message: Message) -> Message:
        self.tls.write(b"".join(frame_segments(message)))
        while True:
            frames = self.parser.feed(self._turn(lambda: self.tls.read(65_536)))
            if frames:
                return frames[0][0]

    def authenticate(self, binding: bytes) -> ClientHandshake:
        handshake = ClientHandshake(HELLO, username="foo", secret_key="bar", channel_binding=binding)
        to_send = handshake.start()
        while to_send:
            to_send = handshake.receive(self.exchange(to_send[0]))
        return handshake


def connect_twisted(listening: Listening) -> TwistedClient:
    """Let a Twisted client talk to the server until both fall silent."""
    protocol = TwistedClient(listening.clock)
    factory: Any = client_tls_factory(Factory.forProtocol(lambda: protocol), listening.clock)
    tls = factory.buildProtocol(ADDRESS)
    transport = Transport()
    tls.makeConnection(transport)
    for _ in range(20):
        listening.clock.advance(0)
        answer = listening.send(transport.take())
        if answer:
            tls.dataReceived(answer)
    return protocol


def test_a_stdlib_client_authenticates(certificate: ServerCertificate) -> None:
    listening = Listening(certificate)
    client = StdlibClient(listening)
    binding = client.establish()
    assert binding == certificate.binding
    assert client.tls.version() == "TLSv1.3"
    assert client.authenticate(binding).done
    assert listening.server.ready == 1
    assert listening.server.handshake.username == "foo"


def test_a_twisted_client_authenticates(certificate: ServerCertificate) -> None:
    listening = Listening(certificate)
    client = connect_twisted(listening)
    assert client.error is None
    assert client.handshake.done and listening.server.handshake.done


def test_bytes_on_the_wire_show_nothing(certificate: ServerCertificate) -> None:
    seen = bytearray()
    listening = Listening(certificate)
    deliver = listening.send

    def record(data: bytes) -> bytes:
        answer = deliver(data)
        seen.extend(data + answer)
        return answer

    listening.send = record
    client = StdlibClient(listening)
    client.authenticate(client.establish())
    assert len(seen) > 1000 and b"hello" not in seen and b"foo" not in seen and b"SCRAM" not in seen


def test_a_man_in_the_middle_fails_both_proofs(
    certificate: ServerCertificate, other_certificate: ServerCertificate
) -> None:
    # He ends TLS with a certificate of his own, and passes every frame on to the real server.
    listening = Listening(other_certificate, bound_to=certificate)
    client = StdlibClient(listening)
    binding = client.establish()
    assert binding == other_certificate.binding != certificate.binding
    with pytest.raises(AuthenticationError, match="different TLS certificates"):
        client.authenticate(binding)
    assert not listening.server.handshake.done

    listening = Listening(other_certificate, bound_to=certificate)
    twisted_client = connect_twisted(listening)
    assert isinstance(twisted_client.error, AuthenticationError)
    assert not twisted_client.handshake.done and not listening.server.handshake.done


def test_tls_1_2_is_refused(certificate: ServerCertificate) -> None:
    old = client_context()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    listening = Listening(certificate)
    with pytest.raises(ssl.SSLError):
        StdlibClient(listening, old).establish()
    assert listening.server.ready == 0


@pytest.mark.parametrize(
    "first", [b"\x80\x04\x95" + b"x" * 100, b'{"type":"hello"}\r\n', b"GET / HTTP/1.1\r\n\r\n"]
)
def test_anything_but_tls_gets_one_error_line(certificate: ServerCertificate, first: bytes) -> None:
    listening = Listening(certificate)
    answer = listening.send(first)
    ((error, _),) = FrameParser().feed(answer)
    assert (
        isinstance(error, Error) and error.code == "protocol" and "this port speaks TLS 1.3" in error.message
    )
    assert listening.transport.half_closed and listening.inner == []
    assert listening.send(b"\x16" + first) == b""
    listening.clock.advance(LINGER_S)
    assert listening.transport.aborted


def test_a_silent_connection_is_closed(certificate: ServerCertificate) -> None:
    listening = Listening(certificate)
    listening.clock.advance(FIRST_BYTE_S - 0.1)
    assert not listening.transport.aborted
    listening.clock.advance(0.1)
    assert listening.transport.aborted


def test_a_lost_connection_leaves_nothing_behind(certificate: ServerCertificate) -> None:
    for lose_after in (b"", b"x"):
        listening = Listening(certificate)
        listening.send(lose_after)
        listening.protocol.connectionLost(Failure(ConnectionDone()))
        assert listening.clock.getDelayedCalls() == []
    listening = Listening(certificate)
    StdlibClient(listening).establish()
    listening.protocol.connectionLost(Failure(ConnectionDone()))
    assert listening.clock.getDelayedCalls() == []
    assert listening.server.closing


def test_a_refusing_factory_closes(certificate: ServerCertificate) -> None:
    class Full(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            return None

    protocol = SniffingFactory(Full(), certificate, Clock()).buildProtocol(ADDRESS)
    transport = Transport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"\x16\x03\x01")
    assert transport.half_closed


def test_a_broken_frame_inside_tls_gets_an_error_frame_and_a_close(certificate: ServerCertificate) -> None:
    listening = Listening(certificate)
    client = StdlibClient(listening)
    client.establish()
    client.tls.write(b"\x80\x04\x95 a pickle")
    ((error, _),) = FrameParser().feed(client._turn(lambda: client.tls.read(65_536)))
    assert isinstance(error, Error) and error.code == "protocol"
    assert client._turn(lambda: client.tls.read(65_536)) == b""  # TLS's own end of stream


def test_no_certificate_no_binding() -> None:
    class Bare:
        def getPeerCertificate(self) -> None:
            return None

    with pytest.raises(ProtocolError, match="no TLS certificate"):
        peer_binding(Bare())


def test_the_certificate_is_made_once_and_kept_private(tmp_path: Path) -> None:
    made = server_certificate(tmp_path / "state", "server")
    assert server_certificate(tmp_path / "state", "server") == made
    assert server_certificate(tmp_path / "state", "other").der != made.der
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE(made.pem_path.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path / "state")) == ["other.pem", "server.pem"]
    assert fingerprint(made.der) == made.binding.hex()

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    certificate = x509.load_der_x509_certificate(made.der)
    key = certificate.public_key()
    assert isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    hash_of_signature = certificate.signature_hash_algorithm
    assert hash_of_signature is not None and hash_of_signature.name == "sha256"  # as RFC 5929 needs it
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days > 3650


def test_another_process_that_was_faster_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faster = server_certificate(tmp_path, "server")
    with monkeypatch.context() as blind:
        blind.setattr(Path, "exists", lambda path: False)
        assert server_certificate(tmp_path, "server") == faster
    assert os.listdir(tmp_path) == ["server.pem"]


def test_a_broken_file_says_to_delete_it(tmp_path: Path) -> None:
    one, two = (server_certificate(tmp_path, name).pem_path for name in ("one", "two"))
    key, separator, certificate = one.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
    other = separator + two.read_bytes().partition(separator)[2]
    for content in (b"", b"nonsense", key, separator + certificate, key + other):
        one.write_bytes(content)
        with pytest.raises(ConfigError, match="delete it") as caught:
            server_certificate(tmp_path, "one")
        assert "PRIVATE" not in str(caught.value)


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = server_certificate(tmp_path, "server").pem_path
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="other users can read"):
        server_certificate(tmp_path, "server")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\0b"])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        server_certificate(tmp_path, name)


def test_a_directory_that_cannot_be_written_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be read or written"):
        server_certificate(tmp_path / "file", "server")
