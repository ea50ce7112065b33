"""When frames are written: at the end of the turn that made them, together, or at once."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.python.failure import Failure

from achilles.lineReceiver.messages import Message, Ping
from achilles.lineReceiver.protocol import AchillesProtocol
from achilles.lineReceiver.wire import READ_BYTES, SHORT_READ_BYTES, Buffer, frame_segments


class Reactor:
    """Notes who waits to write."""

    def __init__(self) -> None:
        self.writers: list[Any] = []

    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeReader(self, reader: Any) -> None:
        pass

    def callLater(self, delay_s: float, call: Any, *args: Any) -> Any:
        class Later:
            def cancel(self) -> None:
                pass

        return Later()


class Socket(FileDescriptor):
    """Twisted's buffering over a socket that takes so many bytes at a time."""

    connected = 1

    def __init__(self, reactor: Reactor, takes: int = 1 << 30) -> None:
        super().__init__(reactor)
        self.takes = takes
        self.writes: list[bytes] = []
        self.failing: Exception | None = None
        self.socket = self

    def send(self, data: bytes) -> int:
        """As of a socket."""
        taken = self.writeSomeData(data)
        if isinstance(taken, Exception):
            raise taken
        return taken

    def writeSomeData(self, data: bytes) -> int | Exception:
        if self.failing is not None:
            return self.failing
        self.writes.append(bytes(data[: self.takes]))
        return len(self.writes[-1])


class Answering(AchillesProtocol):
    """Sends some frames for each that it receives, to itself or to others."""

    def __init__(self, *others: AchillesProtocol) -> None:
        super().__init__(None)
        self.to = others or (self,)

    def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
        for peer in self.to:
            peer.send(Ping(1))
            peer.send(Ping(2))


def pings(*numbers: int) -> bytes:
    return b"".join(b"".join(frame_segments(Ping(number), [])) for number in numbers)


def made(*others: AchillesProtocol, takes: int = 1 << 30) -> tuple[Answering, Socket, Reactor]:
    reactor = Reactor()
    socket = Socket(reactor, takes)
    protocol = Answering(*others)
    protocol.makeConnection(socket)
    return protocol, socket, reactor


def test_what_is_sent_outside_of_a_turn_is_written_at_once() -> None:
    protocol, socket, reactor = made()
    protocol.send(Ping(7))
    assert socket.writes == [pings(7)] and reactor.writers == []


def test_what_one_read_leads_to_goes_together_to_each_peer() -> None:
    first, first_socket, _ = made()
    second, second_socket, _ = made()
    protocol, socket, _ = made(first, second)
    protocol.dataReceived(pings(5, 6, 7))
    for written in (first_socket, second_socket):
        assert written.writes == [pings(1, 2, 1, 2, 1, 2)]
    assert socket.writes == []


def test_a_turn_within_a_turn_ends_with_it() -> None:
    inner, inner_socket, _ = made()

    class Handing(AchillesProtocol):
        def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
            inner.dataReceived(pings(9))
            assert inner_socket.writes == []
            inner.send(Ping(3))
            assert inner_socket.writes == []

    outer = Handing(None)
    outer.makeConnection(Socket(Reactor()))
    outer.dataReceived(pings(5))
    assert inner_socket.writes == [pings(1, 2, 3)]


def test_what_the_socket_does_not_take_waits_for_the_reactor() -> None:
    protocol, socket, reactor = made(takes=10)
    protocol.send(Ping(7))
    assert b"".join(socket.writes) == pings(7)[:10] and reactor.writers == [socket]
    socket.takes = 1 << 30
    socket.doWrite()
    assert b"".join(socket.writes) == pings(7) and reactor.writers == []


def test_an_error_is_left_to_the_reactor() -> None:
    protocol, socket, reactor = made()
    socket.failing = ConnectionError("gone")
    protocol.send(Ping(7))
    assert reactor.writers == [socket]
    assert socket.doWrite() is socket.failing


def test_the_turn_ends_even_if_a_frame_was_refused() -> None:
    other, other_socket, _ = made()

    class Failing(AchillesProtocol):
        def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
            other.send(Ping(4))
            raise RuntimeError("of ours")

    protocol = Failing(Reactor())
    socket = Socket(Reactor())
    socket.loseWriteConnection = lambda: None
    protocol.makeConnection(socket)
    protocol.dataReceived(pings(5, 6))
    assert other_socket.writes == [pings(4)]
    other.send(Ping(8))
    assert other_socket.writes[1:] == [pings(8)]


def test_nothing_is_written_to_a_connection_that_is_closed_or_closing() -> None:
    protocol, socket, _ = made()
    other, _, _ = made(protocol)
    socket.connected = 0
    other.dataReceived(pings(5))
    assert socket.writes == []
    socket.connected = 1
    protocol.connectionLost(Failure(ConnectionError("gone")))
    other.dataReceived(pings(5))
    assert socket.writes == []


@pytest.mark.parametrize(
    ("came_bytes", "next_bytes"), [(100, SHORT_READ_BYTES), (SHORT_READ_BYTES, READ_BYTES)]
)
def test_much_is_read_at_a_time_only_while_much_comes(came_bytes: int, next_bytes: int) -> None:
    protocol, socket, _ = made()
    socket.bufferSize = 0
    frame = pings(1)
    protocol.dataReceived((frame * (came_bytes // len(frame) + 1))[:came_bytes])
    assert socket.bufferSize == next_bytes
