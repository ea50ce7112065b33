"""TLS on Twisted in large steps.

Twisted's own TLS goes record by record: for each 16 KiB three trips through Python to encrypt them and two to
decrypt, and all that is sent is joined, encrypted and joined again before the first byte of it leaves. For
8 MiB these cost a server four times what the ciphers do. Here

* what is sent waits as it was given, is encrypted in pieces of `PIECE_BYTES`, and only when the socket has
  taken the piece before; small frames that wait together go together, and large payloads are never joined;
* what one read has brought is decrypted whole, in pieces of at most that much, before anybody hears of it.

Bytes that wait are counted once, whether encrypted or not (`unsent_bytes`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from achilles.lineReceiver.turns import write_now
from achilles.lineReceiver.wire import READ_BYTES, Buffer, next_read_bytes
from achilles.sealed import Sealed

__all__ = ["PIECE_BYTES", "TlsStream", "TlsStreamFactory"]

PIECE_BYTES = 256 * 1024
"""Encrypted at a time, and so kept twice; OpenSSL holds on to buffers of four thirds of it."""

RECORD_BYTES = 16 * 1024
"""The most that TLS puts into one record."""

# What a record is longer than its content: header, type and tag; with room for a message of TLS's own.
OVERHEAD_BYTES = 22
SLACK_BYTES = 1024

# Pieces written in a row to a socket that takes them; then others get their turn. If it were less than a read
# brings, what passes through would gather.
PIECES_PER_TURN = READ_BYTES // PIECE_BYTES


class TlsStream(TLSMemoryBIOProtocol):
    """TLS around one connection, and the transport that its protocol sees.

    As a transport it takes any buffers, which must not change until they are sent. It has no producers.
    """

    transport: Any  # zope's interfaces say nothing to a type checker
    wrappedProtocol: Any  # noqa: N815 - Twisted's name
    _tlsConnection: Any  # noqa: N815 - Twisted's name

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call] # as all of Twisted
        self._waiting: deque[Buffer | Sealed] = deque()
        self._waiting_bytes = 0
        self._asks = False  # whether the socket asks for more when it is empty
        self._flushing = False

    # -- sending --------------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """What was sent and the socket has not taken yet."""
        return self._waiting_bytes + _unsent_bytes(self.transport)

    def put(self, parts: Iterable[Buffer | Sealed]) -> None:
        """Take what is to be sent; `flush` sends it."""
        if self.disconnecting or self._lostTLSConnection:
            return
        for part in parts:
            content = part if isinstance(part, bytes | Sealed) else memoryview(part).cast("B")
            if content:
                self._waiting.append(content)
                self._waiting_bytes += len(content)

    def write(self, data: Buffer) -> None:
        """Send something."""
        self.writeSequence((data,))

    def writeSequence(self, parts: Iterable[Buffer]) -> None:  # noqa: N802 - Twisted's name
        """Send some buffers, one after the other."""
        self.put(parts)
        self.flush()

    def flush(self) -> None:
        """Write what the socket takes now; the rest follows as it takes more."""
        if self._flushing:
            return
        transport = self.transport
        self._flushing = True
        for _ in range(PIECES_PER_TURN):
            if _unsent_bytes(transport) or not self._encrypt():
                break
            write_now(transport)
        self._flushing = False
        if self._waiting and self._handshakeDone:
            if not _unsent_bytes(transport):
                self._encrypt()  # for the reactor's next turn
            if not self._asks:
                self._asks = True
                transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The socket has taken all that it was given (from Twisted)."""
        self.flush()

    def stopProducing(self) -> None:
        """The connection is lost (from Twisted)."""
        self._forget()

    def _encrypt(self) -> bool:
        """Hand the next piece to the socket, if there is one; the last one may end the connection."""
        if not self._waiting or not self._handshakeDone or self._lostTLSConnection:
            if self._lostTLSConnection:
                self._forget()
            return False
        piece = memoryview(self._next_piece())
        send, taken_bytes = self._tlsConnection.send, 0
        try:
            while taken_bytes < len(piece):
                taken_bytes += send(piece[taken_bytes:])  # of a record at most
        except SSL.WantReadError:  # TLS has to hear something first
            self._waiting.appendleft(piece[taken_bytes:])
            self._waiting_bytes += len(piece) - taken_bytes
        except SSL.Error:
            self._tlsShutdownFinished(Failure())  # type: ignore[no-untyped-call] # as all of Twisted
            self._forget()
            return False
        self._flushSendBIO(taken_bytes)
        if not self._waiting:
            self._forget()
            if self.disconnecting:
                self._shutdownTLS()  # type: ignore[no-untyped-call] # as all of Twisted
        return taken_bytes > 0

    def _next_piece(self) -> Buffer:
        """What goes next: one buffer, a part of one, or so many small ones that they fill a record."""
        waiting = self._waiting
        parts: list[Buffer] = []
        size_bytes = 0
        while waiting and size_bytes < RECORD_BYTES:
            part = waiting.popleft()
            room_bytes = PIECE_BYTES - size_bytes
            left_bytes = len(part) - room_bytes
            if isinstance(part, Sealed):
                if left_bytes > 0:
                    waiting.appendleft(part.part(room_bytes, left_bytes))
                    part = part.part(0, room_bytes)
                part = part.read()
            elif left_bytes > 0:
                view = memoryview(part)
                waiting.appendleft(view[room_bytes:])
                part = view[:room_bytes]
            parts.append(part)
            size_bytes += len(part)
        self._waiting_bytes -= size_bytes
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _forget(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._asks:
            self._asks = False
            self.transport.unregisterProducer()

    def _flushSendBIO(self, content_bytes: int = RECORD_BYTES) -> None:  # noqa: N802 - Twisted's name
        """Hand what TLS has made to the socket, in as few pieces as it can be."""
        records = content_bytes // RECORD_BYTES + 1
        room_bytes = content_bytes + records * OVERHEAD_BYTES + SLACK_BYTES
        came_bytes = room_bytes
        while came_bytes == room_bytes:
            try:
                encrypted = self._tlsConnection.bio_read(room_bytes)
            except SSL.WantReadError:
                return
            self.transport.write(encrypted)
            came_bytes = len(encrypted)

    def _unbufferPendingWrites(self) -> None:  # noqa: N802 - Twisted's name
        raise AssertionError("nothing waits in Twisted's own list")

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Not supported: the socket's producer is this object."""
        raise NotImplementedError

    # -- receiving ------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Decrypt what came and hand it on (from Twisted)."""
        if not self._handshakeDone:
            super().dataReceived(data)  # type: ignore[no-untyped-call] # as all of Twisted
            self.flush()
            return
        if hasattr(self.transport, "bufferSize"):
            self.transport.bufferSize = next_read_bytes(len(data))
        encrypted = memoryview(data)
        for start in range(0, len(encrypted), PIECE_BYTES):
            if self._lostTLSConnection or self._aborted:
                return
            self._tlsConnection.bio_write(encrypted[start : start + PIECE_BYTES])
            self._flushReceiveBIO()
        if self._waiting and not _unsent_bytes(self.transport):
            self.flush()  # it was TLS that had to hear something first

    def _flushReceiveBIO(self) -> None:  # noqa: N802 - Twisted's name
        """Hand on what can be decrypted, then the end of the stream if that has come."""
        receive = self._tlsConnection.recv
        pieces: list[bytes] = []
        ended = False
        failure: Failure | None = None
        try:
            while True:
                pieces.append(receive(RECORD_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            ended = True
        except SSL.Error:
            ended, failure = True, Failure()  # type: ignore[no-untyped-call] # as all of Twisted
        if pieces and not self._aborted and not self._lostTLSConnection:
            self.wrappedProtocol.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended and not self._lostTLSConnection:
            if failure is None:
                self._shutdownTLS()  # type: ignore[no-untyped-call] # as all of Twisted
            self._tlsShutdownFinished(failure)  # type: ignore[no-untyped-call]
            self._forget()
        if self._tlsConnection is not None:
            self._flushSendBIO()

    # -- the end --------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        """End TLS, then the connection, when all is sent."""
        if self._waiting and self.connected and not self.disconnecting:
            self.disconnecting = True
            self.flush()
        else:
            super().loseConnection()  # type: ignore[no-untyped-call] # as all of Twisted

    def abortConnection(self) -> None:
        """End the connection at once."""
        self._forget()
        super().abortConnection()  # type: ignore[no-untyped-call] # as all of Twisted

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone (from Twisted)."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call] # as all of Twisted
        self._forget()


class TlsStreamFactory(TLSMemoryBIOFactory):
    """Puts a `TlsStream` around the connections of another factory; arguments as Twisted's."""

    protocol = TlsStream


def _unsent_bytes(transport: Any) -> int:
    if not isinstance(transport, FileDescriptor):
        return 0  # of a test
    waiting_bytes: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    return waiting_bytes
