"""The protocol on Twisted: frames in and out, refusals, and how connections end."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from achilles.errors import AuthenticationError, ClusterError, ProtocolError
from achilles.lineReceiver.messages import Error, Message, Parcel, Ping, StatusReply
from achilles.lineReceiver.protocol import LINGER_S, AchillesProtocol
from achilles.lineReceiver.wire import (
    READ_BYTES,
    SHORT_READ_BYTES,
    Buffer,
    FrameParser,
    Limits,
    frame_segments,
    gather,
)


class Recorder(AchillesProtocol):
    """Keeps what it receives; raises what it is told to on a ping."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(clock)
        self.received: list[tuple[Message, bytes]] = []
        self.ready = 0
        self.failure: Exception | None = None

    def connection_ready(self) -> None:
        self.ready += 1

    def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
        self.received.append((message, bytes(gather(chunks))))
        if self.failure is not None:
            raise self.failure


class HalfClosing(StringTransport):
    """A TCP-like transport, whose write side can be closed alone."""

    half_closed = False
    aborted = False
    bufferSize = 65_536
    SEND_LIMIT = 131_072

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True


def connected(transport: Any = None) -> tuple[Recorder, Any, Clock]:
    clock = Clock()
    protocol = Recorder(clock)
    transport = transport or HalfClosing()
    protocol.makeConnection(transport)
    return protocol, transport, clock


def wire(message: Message, payload: bytes = b"") -> bytes:
    return b"".join(frame_segments(message, [payload]))


def sent(transport: Any) -> list[tuple[Message, bytes]]:
    return [(message, bytes(gather(chunks))) for message, chunks in FrameParser().feed(transport.value())]


def test_frames_go_in_and_out() -> None:
    protocol, transport, _ = connected()
    parcel = Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 6)])
    protocol.send(parcel, [b"ab", memoryview(b"cd"), bytearray(b"ef")])
    protocol.send(Ping(5))
    assert sent(transport) == [(parcel, b"abcdef"), (Ping(5), b"")]
    protocol.dataReceived(transport.value()[:20])
    assert protocol.received == []
    protocol.dataReceived(transport.value()[20:])
    assert protocol.received == sent(transport)
    assert protocol.ready == 1
    assert (transport.bufferSize, transport.SEND_LIMIT) == (SHORT_READ_BYTES, READ_BYTES)


def test_a_broken_frame_gets_one_error_frame_and_a_lingering_close() -> None:
    protocol, transport, clock = connected()
    protocol.dataReceived(wire(Ping(1)) + b"\x80\x04\x95" * 1000)
    assert protocol.received == [(Ping(1), b"")]
    ((error, _),) = sent(transport)
    assert isinstance(error, Error) and error.code == "protocol"
    assert protocol.closing and transport.half_closed and not transport.aborted

    protocol.dataReceived(b"\x80" * 1000 + wire(Ping(2)))
    protocol.send(Ping(3))
    assert len(protocol.received) == 1 and len(sent(transport)) == 1

    clock.advance(LINGER_S)
    assert transport.aborted


def test_a_peer_that_closes_ends_the_lingering() -> None:
    protocol, transport, clock = connected()
    protocol.dataReceived(b"?")
    protocol.connectionLost(Failure(ConnectionDone()))
    assert clock.getDelayedCalls() == []
    assert not transport.aborted


def test_a_transport_that_cannot_half_close_is_closed() -> None:
    protocol, transport, _ = connected(StringTransport())
    protocol.dataReceived(b"?")
    assert transport.disconnecting


def test_an_error_raised_while_taking_a_frame_refuses_the_rest() -> None:
    for error, code in [
        (AuthenticationError("no"), "authentication"),
        (AuthenticationError("no", code="forbidden"), "forbidden"),
        (ProtocolError("no"), "protocol"),
        (ClusterError("no"), "internal"),
    ]:
        protocol, transport, _ = connected()
        protocol.failure = error
        protocol.dataReceived(wire(Ping(1)) + wire(Ping(2)))
        assert len(protocol.received) == 1
        assert sent(transport) == [(Error(code, "no"), b"")]


def test_limits_may_be_lifted_among_bytes_already_read() -> None:
    class Lifting(Recorder):
        def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
            super().frame_received(message, chunks)
            self.set_limits(Limits())

    protocol = Lifting(Clock())
    protocol.makeConnection(HalfClosing())
    protocol.dataReceived(wire(Ping(1)) + wire(StatusReply(), b"x" * 70_000))
    assert len(protocol.received) == 2

    protocol, transport, _ = connected()
    protocol.dataReceived(wire(Ping(1)) + wire(StatusReply(), b"x" * 70_000))
    assert len(protocol.received) == 1 and transport.half_closed


def test_sending_after_the_connection_is_lost_is_no_error() -> None:
    protocol, transport, _ = connected()
    protocol.connectionLost()
    protocol.send(Ping(1))
    assert transport.value() == b""
