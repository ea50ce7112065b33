"""TLS in large steps: order, whatever the pieces; slow readers; ends of all kinds; and no second copy."""

from __future__ import annotations

import os
import random
import tracemalloc
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from achilles.lineReceiver.messages import Results
from achilles.lineReceiver.protocol import AchillesProtocol
from achilles.lineReceiver.tls import ServerCertificate, server_certificate
from achilles.lineReceiver.tls_stream import PIECE_BYTES, RECORD_BYTES, TlsStream, TlsStreamFactory
from achilles.lineReceiver.tls_twisted import _Connections
from achilles.lineReceiver.wire import READ_BYTES, Limits
from achilles.sealed import available, seal

NO_LIMIT = 1 << 40
MEBIBYTE = 1 << 20


class Reactor(Clock):
    """Notes who waits to write."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[Any] = []

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeReader(self, reader: Any) -> None:
        pass


class Socket(FileDescriptor):
    """Twisted's buffering over a socket with room for so many bytes that nobody has read."""

    connected = 1

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor)
        self.room = NO_LIMIT
        self.written = bytearray()
        self.aborted = False

    def writeSomeData(self, data: bytes) -> int:
        taken = bytes(data[: max(0, self.room - len(self.written))])
        self.written += taken
        return len(taken)

    def abortConnection(self) -> None:
        self.aborted = True


class Recorder(Protocol):
    """Keeps what comes, and the reason of the end."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.reasons: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.came += data

    def connectionLost(self, reason: Failure = None) -> None:
        self.reasons.append(reason.value)


class End:
    """One end: a protocol, TLS around it, and a socket."""

    def __init__(self, certificate: ServerCertificate | None, protocol: Any) -> None:
        self.reactor = Reactor()
        self.socket = Socket(self.reactor)
        self.protocol = protocol
        is_client = certificate is None
        connections: Any = _Connections(None if certificate is None else certificate.pem_path)
        inner: Any = Factory.forProtocol(lambda: protocol)
        factory = TlsStreamFactory(connections, is_client, inner, self.reactor)
        tls: Any = factory.buildProtocol(None)
        assert isinstance(tls, TlsStream)
        self.tls = tls
        self.ended = False

    def lose(self, why: type[Exception] = ConnectionDone) -> None:
        if not self.ended:
            self.ended = True
            self.socket.connectionLost(Failure(why()))
            self.tls.connectionLost(Failure(why()))


class Pair:
    """Two ends, and the network between them."""

    def __init__(self, certificate: ServerCertificate, near: Any = None, far: Any = None) -> None:
        self.near = End(None, near or Recorder())
        self.far = End(certificate, far or Recorder())
        self.splits: Callable[[], int] = lambda: NO_LIMIT
        for end in (self.near, self.far):
            end.tls.makeConnection(end.socket)
        self.settle()

    def carry(self, source: End, target: End, most: int = NO_LIMIT) -> bool:
        """Let the target read once, and the source write as its reactor would."""
        size = min(most, self.splits(), len(source.socket.written))
        data = bytes(source.socket.written[:size])
        del source.socket.written[:size]
        if data and not target.ended:
            target.tls.dataReceived(data)
        if source.socket in source.reactor.writers and not source.ended:
            before = len(source.socket.written)
            done = source.socket.doWrite()
            if isinstance(done, Exception):
                source.lose()
            return bool(data) or len(source.socket.written) > before or source.ended
        return bool(data)

    def settle(self) -> None:
        """Until nothing moves any more."""
        moves = True
        while moves:
            moves = self.carry(self.near, self.far) | self.carry(self.far, self.near)
            for end in (self.near, self.far):
                end.reactor.advance(0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ServerCertificate:
    return server_certificate(tmp_path_factory.mktemp("state"), "server")


@pytest.fixture
def pair(certificate: ServerCertificate) -> Pair:
    return Pair(certificate)


SIZES = [1, 0, 100, 16_383, 16_384, 16_385, 5, 262_144, 262_145, 300_000, 7, 7, 7, 1_300_000, 1]


@pytest.mark.parametrize("split_bytes", [1, 7, 1000, 16_406, 100_001, NO_LIMIT])
def test_everything_comes_in_order_however_it_is_split(pair: Pair, split_bytes: int) -> None:
    sizes = [size for size in SIZES if size < 1000 * split_bytes]
    parts = [os.urandom(size) for size in sizes]
    pair.splits = lambda: split_bytes
    pair.near.tls.writeSequence(parts)
    for part in parts:
        pair.far.tls.write(part)
    pair.settle()
    assert pair.far.protocol.came == pair.near.protocol.came == b"".join(parts)


def test_everything_comes_in_order_through_sockets_of_any_room(pair: Pair) -> None:
    chance = random.Random(5)
    sent = bytearray()
    pair.splits = lambda: chance.randrange(1, 200_000)
    for _ in range(60):
        parts = [chance.randbytes(chance.choice([3, 3, 900, 20_000, 400_000])) for _ in range(3)]
        pair.near.tls.put(parts)
        if chance.random() < 0.7:
            pair.near.tls.flush()
        sent += b"".join(parts)
        pair.near.socket.room = chance.randrange(1, 300_000)
        pair.carry(pair.near, pair.far)
    pair.near.tls.flush()
    pair.settle()
    assert pair.far.protocol.came == sent
    assert pair.near.tls.unsent_bytes == 0


def test_what_was_put_waits_for_flush_and_goes_in_one_record(pair: Pair) -> None:
    pair.near.tls.put([b"a" * 100, b"b" * 100])
    pair.near.tls.put([b"c" * 100])
    assert not pair.near.socket.written and pair.near.tls.unsent_bytes == 300
    pair.near.tls.flush()
    assert len(pair.near.socket.written) == 300 + 22
    assert pair.near.tls.unsent_bytes == 0 and pair.near.reactor.writers == []


def test_records_of_a_large_payload_are_full(pair: Pair) -> None:
    pair.near.tls.writeSequence([bytes(60), bytes(4 * PIECE_BYTES)])
    pair.settle()
    pair.near.tls.writeSequence([bytes(60), bytes(PIECE_BYTES)])
    full = PIECE_BYTES // RECORD_BYTES
    assert len(pair.near.socket.written) == PIECE_BYTES + 60 + 22 * (full + 1)


def test_a_reader_that_stands_still_has_one_piece_encrypted_for_it(pair: Pair) -> None:
    payload = os.urandom(8 * MEBIBYTE)
    pair.near.socket.room = 0
    pair.near.tls.write(payload)
    for _ in range(10):
        pair.near.socket.doWrite()
        pair.near.tls.write(b"more")
    buffered = len(pair.near.socket.dataBuffer) + pair.near.socket._tempDataLen
    assert PIECE_BYTES < buffered < 2.1 * PIECE_BYTES
    assert len(payload) + 40 <= pair.near.tls.unsent_bytes < len(payload) + 2000
    pair.near.socket.room = NO_LIMIT
    pair.settle()
    assert pair.far.protocol.came == payload + b"more" * 10
    assert pair.near.socket.producer is None and pair.near.reactor.writers == []


def test_a_large_payload_is_not_copied_whole(pair: Pair) -> None:
    payload = bytes(64 * MEBIBYTE)
    pair.far.protocol.dataReceived = lambda data: None
    tracemalloc.start()
    try:
        pair.near.tls.writeSequence([b"header", payload])
        pair.settle()
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What the network of this test holds is of it as well.
    assert most_bytes < 16 * MEBIBYTE


def test_others_get_their_turn_while_a_socket_takes_all(pair: Pair) -> None:
    pair.near.tls.write(bytes(16 * MEBIBYTE))
    assert len(pair.near.socket.written) < 2 * MEBIBYTE
    assert pair.near.reactor.writers == [pair.near.socket]


def test_a_turn_writes_as_much_as_a_read_brings(pair: Pair) -> None:
    # Otherwise what passes through a server gathers there, since it reads and writes in turns.
    pair.near.tls.write(bytes(16 * MEBIBYTE))
    for _ in range(5):
        before = len(pair.near.socket.written)
        pair.near.socket.doWrite()
        assert READ_BYTES <= len(pair.near.socket.written) - before < 2 * READ_BYTES
        assert pair.near.reactor.writers == [pair.near.socket]


def test_buffers_of_all_kinds(pair: Pair) -> None:
    numbers = array("d", range(50_000))
    parts: list[Any] = [bytearray(b"x" * 300_000), memoryview(numbers), memoryview(b""), b"", bytearray()]
    pair.near.tls.writeSequence(parts)
    pair.settle()
    assert pair.far.protocol.came == b"x" * 300_000 + numbers.tobytes()


@pytest.mark.skipif(not available(), reason="this system has no sealed memory")
def test_shared_memory_is_read_when_its_turn_comes(certificate: ServerCertificate) -> None:
    class Sending(AchillesProtocol):
        pass

    class Taking(AchillesProtocol):
        def frame_received(self, message: Any, chunks: Any) -> None:
            frames.append((message, b"".join(chunks)))

    frames: list[tuple[Any, bytes]] = []
    sending, taking = Sending(Clock()), Taking(Clock())
    pair = Pair(certificate, sending, taking)
    taking.set_limits(Limits())
    payload = os.urandom(3 * MEBIBYTE + 5)
    shared = seal([[payload]])
    assert shared is not None
    fact = (0, 1, 0, 7, len(payload))
    pair.near.socket.room = 0
    tracemalloc.start()
    try:
        sending.send(Results(1, 2, 3, [fact], len(payload), shared=shared))
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()
    assert sending.unsent_bytes > len(payload)
    del shared
    pair.near.socket.room = NO_LIMIT
    pair.settle()
    ((message, came),) = frames
    assert came == payload and message.segments == [fact] and not message.by_descriptor


def test_to_end_a_connection_sends_first_what_waits(pair: Pair) -> None:
    payload = os.urandom(2 * MEBIBYTE)
    pair.near.socket.room = 100_000
    pair.near.tls.write(payload)
    pair.near.tls.loseConnection()
    pair.near.tls.write(b"too late")
    assert not pair.near.socket.disconnecting
    pair.near.socket.room = NO_LIMIT
    pair.settle()
    assert pair.far.protocol.came == payload
    for end in (pair.near, pair.far):
        assert [type(reason) for reason in end.protocol.reasons] == [ConnectionDone]
        assert end.ended


def test_an_abort_forgets_what_waits(pair: Pair) -> None:
    pair.near.socket.room = 100_000
    pair.near.tls.write(bytes(2 * MEBIBYTE))
    pair.near.tls.abortConnection()
    assert pair.near.socket.aborted and pair.near.socket.producer is None
    assert pair.near.tls.unsent_bytes < 2 * PIECE_BYTES
    pair.near.lose(ConnectionLost)
    assert pair.near.protocol.reasons and pair.near.tls._waiting_bytes == 0
    pair.near.tls.write(b"too late")
    assert pair.near.tls._waiting_bytes == 0


def test_a_lost_connection_forgets_what_waits(pair: Pair) -> None:
    pair.near.socket.room = 100_000
    pair.near.tls.write(bytes(2 * MEBIBYTE))
    pair.near.lose(ConnectionLost)
    assert len(pair.near.protocol.reasons) == 1
    assert pair.near.tls._waiting_bytes == 0 and not pair.near.tls._waiting
    pair.near.tls.flush()


def test_a_receiver_that_ends_in_mid_payload(pair: Pair) -> None:
    pair.near.socket.room = 100_000
    pair.near.tls.write(bytes(2 * MEBIBYTE))
    pair.far.tls.loseConnection()
    pair.near.socket.room = NO_LIMIT
    pair.settle()
    assert [type(reason) for reason in pair.near.protocol.reasons] == [ConnectionDone]
    assert pair.near.socket.producer is None and pair.near.tls._waiting_bytes == 0


def test_what_was_changed_on_the_way_ends_the_connection(pair: Pair) -> None:
    pair.near.tls.write(b"a" * RECORD_BYTES * 3)
    pair.near.socket.written[2 * (RECORD_BYTES + 22) + 100] ^= 1
    pair.settle()
    pair.far.lose(ConnectionLost)
    assert pair.far.protocol.came == b"a" * RECORD_BYTES * 2
    ((reason),) = pair.far.protocol.reasons
    assert isinstance(reason, SSL.Error)
    assert pair.far.socket.disconnecting


def test_a_stream_that_was_cut_off_is_not_one_that_ended(pair: Pair) -> None:
    pair.near.tls.write(b"a" * RECORD_BYTES * 3)
    pair.carry(pair.near, pair.far, most=RECORD_BYTES + 1000)
    pair.far.lose(ConnectionLost)
    assert pair.far.protocol.came == b"a" * RECORD_BYTES
    assert [type(reason) for reason in pair.far.protocol.reasons] == [ConnectionLost]


def test_nothing_is_handed_on_after_an_abort(pair: Pair) -> None:
    class Aborting(Recorder):
        def dataReceived(self, data: bytes) -> None:
            super().dataReceived(data)
            pair.far.tls.abortConnection()

    pair.far.tls.wrappedProtocol = aborting = Aborting()
    pair.near.tls.write(bytes(MEBIBYTE))
    pair.settle()
    assert 0 < len(aborting.came) <= PIECE_BYTES


def test_what_is_sent_before_tls_is_up_goes_when_it_is(certificate: ServerCertificate) -> None:
    class Early(Recorder):
        def connectionMade(self) -> None:
            self.transport.write(b"early")

    pair = Pair(certificate, Early(), Early())
    assert pair.near.protocol.came == pair.far.protocol.came == b"early"


@pytest.mark.parametrize("at_call", [1, 2])
def test_tls_may_want_to_hear_something_first(
    pair: Pair, at_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = pair.near.tls._tlsConnection
    calls = 0

    class Reluctant:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def send(self, data: Any) -> int:
            nonlocal calls
            calls += 1
            if at_call <= calls < at_call + 3:
                raise SSL.WantReadError
            return int(connection.send(data))

    payload = os.urandom(600_000)
    monkeypatch.setattr(pair.near.tls, "_tlsConnection", Reluctant())
    pair.near.tls.write(payload)
    pair.settle()
    for _ in range(4):
        pair.far.tls.write(b"x")
        pair.settle()
    assert pair.far.protocol.came == payload and pair.near.tls.unsent_bytes == 0
