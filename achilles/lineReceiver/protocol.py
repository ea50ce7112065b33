"""The line protocol on Twisted: what servers and nodes build their connections on.

:class:`AchillesProtocol` is a ``LineReceiver`` whose ``dataReceived`` is its own: Twisted's splits and
copies its buffer for every line, which is quadratic for large payloads and slow for small frames.

Rules:

* Nothing is assumed on ``connectionMade``: over TLS it comes before the peer's certificate is known.
  Override :meth:`AchillesProtocol.connection_ready`.
* A cluster error raised while a frame is taken ends the connection with one ``error`` frame.
* A connection that is being closed takes no more frames. It lingers, reading and dropping, until
  the peer has closed or two seconds have passed: closing a socket with unread bytes resets it, and
  the peer would lose the error frame that says why.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from typing import Protocol as Structure

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IFileDescriptorReceiver, IHandshakeListener
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer  # type: ignore[import-untyped] # ships no types

from achilles.errors import ClusterError, ProtocolError
from achilles.lineReceiver.handshake import error_frame
from achilles.lineReceiver.messages import MAX_HEADER_BYTES, Answer, Message, Parcel, Ping, Results
from achilles.lineReceiver.shared_payloads import (
    MAX_UNHEARD_BYTES,
    TELL_BYTES,
    Handed,
    accept,
    as_bytes,
    unshared_frame,
)
from achilles.lineReceiver.tls_stream import TlsStream
from achilles.lineReceiver.turns import Turn
from achilles.lineReceiver.wire import (
    BEFORE_AUTHENTICATION_LIMITS,
    READ_BYTES,
    SHORT_READ_BYTES,
    Buffer,
    FrameParser,
    Limits,
    frame_segments,
    next_read_bytes,
)
from achilles.sealed import Descriptor, Sealed
from achilles.workers.passing import Arrived, receive

__all__ = ["AchillesProtocol", "Clock", "DelayedCall", "Lingering", "reactor_time"]

_log = logging.getLogger("achilles.protocol")

_turn = Turn()

LINGER_S = 2.0


class DelayedCall(Structure):
    """Twisted's ``IDelayedCall``, for type checkers, which cannot read zope's interfaces."""

    def cancel(self) -> None: ...


class Clock(Structure):
    """Twisted's ``IReactorTime``, likewise."""

    @property
    def callLater(self) -> Callable[..., DelayedCall]: ...


def reactor_time(clock: Clock | None) -> Clock:
    """The clock, or else the global reactor's, which is imported (and so installed) only now."""
    if clock is not None:
        return clock
    from twisted.internet import reactor

    time: Any = reactor
    return time  # type: ignore[no-any-return] # Twisted types the module, not the object in its place


class Lingering:
    """Closes a connection so that the peer can still read what was written last.

    Args:
        clock: Where the two seconds are counted.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._deadline: DelayedCall | None = None
        self.closing = False

    def close(self, transport: Any) -> None:
        """Send what is queued, then the end of the stream; abort if the peer does not close as well."""
        if self.closing:
            return
        self.closing = True
        self._deadline = reactor_time(self._clock).callLater(LINGER_S, self._abort, transport)
        half_close = getattr(transport, "loseWriteConnection", None)
        # TLS waits for the peer's close by itself, and would hand a half-close to the TCP below it.
        if half_close is None or isinstance(transport, TlsStream):
            transport.loseConnection()
        else:
            half_close()

    def _abort(self, transport: Any) -> None:
        self._deadline = None
        transport.abortConnection()

    def closed(self) -> None:
        """The connection is lost: nothing is left to wait for."""
        self.closing = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


@implementer(IHandshakeListener, IFileDescriptorReceiver)
class AchillesProtocol(LineReceiver):
    """One connection that speaks the line protocol.

    Subclasses override :meth:`connection_ready` and :meth:`frame_received`, and call this class's
    ``connectionMade`` and ``connectionLost`` if they override those.

    Args:
        clock: For the lingering close; the global reactor if None.
    """

    MAX_LENGTH = MAX_HEADER_BYTES
    transport: Any  # zope's interfaces say nothing to a type checker

    def __init__(self, clock: Clock | None = None) -> None:
        self._parser = FrameParser(BEFORE_AUTHENTICATION_LIMITS)
        self._plain: FileDescriptor | None = None  # the transport, if it is a socket without TLS
        self._lingering = Lingering(clock)
        self._arrived: Arrived | None = None
        self._handed = Handed()
        self._untold_bytes = 0
        self.handed_bytes = 0  # to be sent, since the beginning

    # -- to override ----------------------------------------------------------------------------

    def connection_ready(self) -> None:
        """Frames can be exchanged, and over TLS the peer's certificate is known."""

    def frame_received(self, message: Message, chunks: list[Buffer]) -> None:
        """Take a frame; its payload comes as received, in order (:func:`~.wire.gather` joins it).

        A :class:`~achilles.errors.ClusterError` raised here ends the connection.
        """
        raise NotImplementedError

    def protocol_failed(self, error: ClusterError) -> None:
        """The peer broke the protocol, or a frame was refused: tell it why, and close."""
        self.close(error)

    # -- to call --------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether the connection is closed, or about to be: frames are neither taken nor sent."""
        return self._lingering.closing

    @property
    def unsent_bytes(self) -> int:
        """What was sent and still waits here for the other side to read."""
        transport: Any = self._plain or self.transport
        if isinstance(transport, TlsStream):
            return transport.unsent_bytes
        if not isinstance(transport, FileDescriptor):
            return 0
        waiting_bytes: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        return waiting_bytes + self._handed.waiting_bytes()

    def set_limits(self, limits: Limits) -> None:
        """Take larger (or smaller) frames from the next one on, also among bytes already read."""
        self._parser.limits = limits

    def exchange_descriptors(self, most_unheard_bytes: int = MAX_UNHEARD_BYTES) -> None:
        """The two sides agreed that large payloads may come, and go, by descriptor."""
        self._arrived = Arrived()
        self._handed = Handed(most_unheard_bytes)
        if self._plain is not None:
            self._plain.doRead = self._read  # type: ignore[method-assign]
        # Twisted's endpoints put a protocol around ours that passes on only the last of our interfaces.
        outermost = getattr(self.transport, "protocol", None)
        if outermost is not None and not IFileDescriptorReceiver.providedBy(outermost):
            alsoProvides(outermost, IFileDescriptorReceiver)

    def send(self, message: Message, segments: Iterable[Buffer] = ()) -> None:
        """Send a frame; once the connection is closing, silently nothing.

        Args:
            message: Its ``size`` is filled in.
            segments: The payload's parts. They must not change until they are sent.
        """
        if self._lingering.closing or self.transport is None:
            return
        if isinstance(self.transport, TlsStream):
            parts = unshared_frame(message, segments)
            self.transport.put(parts)
            _turn.wrote(self.transport)
            self.handed_bytes += len(parts[0]) + message.size
            return
        if message.shared is not None:
            segments = self._share(message)
        # Twisted's sockets take bytes alone; most chunks that a relay sends on are such.
        frame = [part if type(part) is bytes else bytes(part) for part in frame_segments(message, segments)]
        self.handed_bytes += len(frame[0]) + message.size
        if self._plain is not None:
            _turn.write(self._plain, frame)
        else:
            self.transport.writeSequence(frame)
            _turn.wrote(self.transport)
        if message.by_descriptor and isinstance(self.transport, FileDescriptor):
            # Not in a later turn: then a burst of small frames that come in would be a heap of memory that
            # waits, and its reader would look slow. What cannot be written stays queued.
            self.transport.doWrite()  # type: ignore[no-untyped-call] # as all of Twisted

    def _share(self, message: Parcel | Results | Answer) -> list[Buffer]:
        """Hand the payload's descriptor over; or return the payload, if it has to go as bytes.

        The message lets go of it: from here on the transport alone keeps it.
        """
        shared = message.shared
        assert shared is not None
        if self._arrived is None or not self._handed.room():
            return as_bytes(message)
        message.by_descriptor, message.shared = True, None
        # An object that stands for the number, so that it is closed once it is sent.
        self.transport.sendFileDescriptor(shared.descriptor)
        self._handed.add(shared.descriptor, len(shared))
        return []

    @property
    def takes_descriptors(self) -> bool:
        """Whether the two sides agreed on payloads by descriptor."""
        return self._arrived is not None

    def send_beside(self, message: Message, beside: Sealed | Descriptor) -> bool:
        """Send a frame without payload and a descriptor, of shared memory or any; False if that cannot be."""
        if self.closing or self.transport is None:
            return True  # as any other frame that comes too late
        if self._arrived is None or not self._handed.room():
            return False
        if isinstance(beside, Sealed):
            descriptor, size_bytes = beside.descriptor, len(beside)
        else:
            descriptor, size_bytes = beside, 0
        self.transport.sendFileDescriptor(descriptor)
        self._handed.add(descriptor, size_bytes)
        self.handed_bytes += size_bytes
        self.send(message)
        return True

    def claim_beside(self, size_bytes: int) -> Sealed:
        """The shared memory that came with the frame at hand, which said how much it is.

        Raises:
            ProtocolError: It did not come, or is not what it should be.
        """
        shared = Sealed.accept(self.claim(), size_bytes)
        self._came(size_bytes)
        return shared

    def claim(self) -> Descriptor:
        """The descriptor that came with the frame at hand.

        Raises:
            ProtocolError: None came, or was agreed upon.
        """
        if self._arrived is None:
            raise ProtocolError("a descriptor was said to come, and nobody agreed to that")
        return self._arrived.claim()

    def close(self, error: ClusterError | None = None) -> None:
        """Close the connection once all is sent; with an error, after a frame that tells it."""
        if error is not None:
            self.send(error_frame(error))
        if self.transport is not None:
            self._lingering.close(self.transport)

    # -- Twisted's side -------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport = self.transport
        if isinstance(transport, FileDescriptor) and hasattr(transport, "socket"):
            self._plain = transport
        if isinstance(transport, TlsStream):
            _enlarge(transport.transport)
            _send_at_once(transport.transport)
        else:
            _enlarge(transport)
            self.connection_ready()

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        """TLS is established (from Twisted)."""
        self.connection_ready()

    def dataReceived(self, data: bytes) -> None:
        if self.closing:
            return
        self._handed.heard()
        if self._plain is not None:
            self._plain.bufferSize = next_read_bytes(len(data))
        else:
            _read_more(self.transport, len(data))
        try:
            with _turn:
                self._frames_received(data)
        except ClusterError as error:
            self.protocol_failed(error)
        except Exception:  # noqa: BLE001 - one peer's connection ends, nobody else's
            _log.exception("a frame could not be taken")
            self.protocol_failed(ClusterError("an internal error; see the log of the other side"))

    def _read(self) -> Any:
        """What the reactor calls in place of the transport's ``doRead``, which does more than is needed."""
        transport: Any = self._plain
        assert self._arrived is not None
        try:
            data = receive(transport.socket, transport.bufferSize, self._arrived)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        except ProtocolError as error:
            self.protocol_failed(error)
            return None
        if not data:
            return CONNECTION_DONE
        self.dataReceived(data)
        if self.closing:
            self._arrived.close()
        return None

    def _frames_received(self, data: bytes) -> None:
        if (frame := self._parser.only(data)) is not None:
            self.frame_received(*frame)
            return
        lingering = self._lingering
        for message, chunks in self._parser.frames(data):
            if message.by_descriptor:
                self._claim(message)
            self.frame_received(message, chunks)
            if lingering.closing:
                return

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor came (from Twisted), before the bytes that came with it."""
        owner = Descriptor(descriptor)
        if self.closing:
            return
        os.set_inheritable(descriptor, False)
        try:
            if self._arrived is None:
                raise ProtocolError("a descriptor came, and nobody agreed to that")
            self._arrived.put(owner)
        except ProtocolError as error:
            self.protocol_failed(error)

    def _claim(self, message: Message) -> None:
        assert isinstance(message, Parcel | Results | Answer)
        if self._arrived is None:
            raise ProtocolError("a payload was said to come by a descriptor, and nobody agreed to that")
        accept(message, self._arrived.claim())
        self._came(message.size)

    def _came(self, shared_bytes: int) -> None:
        self._untold_bytes += shared_bytes
        if self._untold_bytes >= TELL_BYTES:
            self._untold_bytes = 0
            self.send(Ping(time.monotonic_ns()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lingering.closed()
        self._handed.close()
        if self._arrived is not None:
            self._arrived.close()
        # What still waits to be sent goes now, and not with the next search for circular references.
        _forget_unsent(self.transport)
        self.transport = self._plain = None


def _forget_unsent(transport: Any) -> None:
    if isinstance(transport, TlsStream):
        transport = transport.transport
    if isinstance(transport, FileDescriptor):
        transport.dataBuffer, transport.offset = b"", 0
        transport._tempDataBuffer, transport._tempDataLen = [], 0


def _send_at_once(transport: Any) -> None:
    """Frames are whole messages; Nagle's algorithm would hold small ones back for 40 ms."""
    if hasattr(transport, "setTcpNoDelay"):
        transport.setTcpNoDelay(True)


def _enlarge(transport: Any) -> None:
    if hasattr(transport, "bufferSize") and hasattr(transport, "SEND_LIMIT"):
        transport.bufferSize, transport.SEND_LIMIT = SHORT_READ_BYTES, READ_BYTES


def _read_more(transport: Any, came_bytes: int) -> None:
    """Read much at a time while much comes."""
    if isinstance(transport, FileDescriptor):
        transport.bufferSize = next_read_bytes(came_bytes)
