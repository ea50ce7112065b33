"""How a controller reaches a server: on plain sockets, so the caller's program keeps its own reactor.

A controller lives in somebody else's process, which may run Twisted, asyncio, a notebook or nothing
at all. So its end of the line protocol uses the standard library's sockets and TLS, and shares the
sans-I/O parts (frames, messages, handshake) with the Twisted parties.
"""

from __future__ import annotations

import os
import platform
import socket
import ssl
import sys
import time
from collections import deque

from .. import __version__
from ..config import Settings
from ..errors import AuthenticationError, ClusterError, ProtocolError, ServerUnreachable
from ..limits import MAX_PAYLOAD_BYTES
from ..sealed import available
from . import local_socket
from . import messages as wire
from .handshake import ClientHandshake, error_frame, error_from
from .tls import client_context, end_point_binding
from .wire import READ_BYTES, Buffer, FrameParser, Limits, frame_segments

__all__ = ["Link", "dial"]

DIAL_TIMEOUT_S = 10.0


class Link:
    """An authenticated connection of a controller, still blocking.

    Attributes:
        socket: The connected socket, with TLS inside when the server is on another machine.
        parser: Has consumed exactly the handshake, and holds what came after it in ``early``.
        welcome: The server's welcome.
        early: Frames that came with the welcome.
        descriptors: Whether payloads may come and go by descriptor.
    """

    def __init__(self, sock: socket.socket, settings: Settings) -> None:
        self.socket = sock
        self.settings = settings
        self.parser = FrameParser()
        self.early: deque[tuple[wire.Message, list[Buffer]]] = deque()
        self.welcome: wire.Welcome | None = None
        self.descriptors = False
        # A peer that sends a byte now and then does not keep us waiting for longer than this.
        self.deadline_s: float | None = None

    def send(self, message: wire.Message) -> None:
        """Send a frame without payload; blocks."""
        self.socket.sendall(b"".join(frame_segments(message)))

    def receive(self) -> tuple[wire.Message, list[Buffer]]:
        """The next frame; blocks.

        Raises:
            ConnectionError: The server closed the connection.
        """
        while not self.early:
            if self.deadline_s is not None:
                left_s = self.deadline_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("the server did not finish what it had begun to say")
                self.socket.settimeout(left_s)
            data = self.socket.recv(READ_BYTES)
            if not data:
                raise ConnectionError("the server closed the connection")
            for frame in self.parser.frames(data):
                if isinstance(frame[0], wire.Welcome):
                    self.parser.limits = Limits(payload_bytes=MAX_PAYLOAD_BYTES)
                self.early.append(frame)
        return self.early.popleft()

    def ask(self, question: wire.Message, answer: type[wire.Control], timeout_s: float) -> list[Buffer]:
        """Send a question, wait for the frame that answers it, and return its payload.

        Raises:
            ServerUnreachable: No answer in time, or the connection was lost.
            ClusterError: The server refused.
        """
        return self.ask_for_message(question, answer, timeout_s)[1]

    def ask_for_message(
        self, question: wire.Message, answer: type[wire.Control], timeout_s: float
    ) -> tuple[wire.Message, list[Buffer]]:
        """Like `ask`, but returns the frame itself as well."""
        settings = self.settings
        self.deadline_s = time.monotonic() + timeout_s
        try:
            self.send(question)
            while True:
                message, chunks = self.receive()
                if isinstance(message, answer):
                    return message, chunks
                if isinstance(message, wire.Ping):
                    self.send(wire.Pong(message.sent_ns))
                elif isinstance(message, wire.Error):
                    raise error_from(message, settings.host, settings.port)
        except OSError as error:
            raise ServerUnreachable(
                f"the achilles_server at {settings.endpoint} did not answer: {_reason(error)}",
                host=settings.host,
                port=settings.port,
            ) from error

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def dial(settings: Settings) -> Link:
    """Connect to the server and prove ourselves as a controller; blocks for some seconds at most.

    Raises:
        ServerUnreachable: Nothing answers there.
        AuthenticationError: It does not let us in, or could not prove that it knows the key.
        VersionMismatch: It speaks another version of the protocol.
    """
    try:
        near = _dial_near(settings)
        if near is not None:
            return near
        far = _connect_tls(settings)
        binding = end_point_binding(far.getpeercert(binary_form=True) or b"")
        try:
            return _shake_hands(Link(far, settings), binding, peer_trusted=False)
        except AuthenticationError:
            # A server that was just starting listens there before others can find its local socket.
            near = _dial_near(settings) if settings.secret_key is None else None
            if near is None:
                raise
            return near
    except OSError as error:
        if isinstance(error, ClusterError):
            raise
        raise ServerUnreachable(
            f"no achilles_server answers at {settings.endpoint} ({_reason(error)}): start one there with "
            f"`achilles server --host {settings.host} --port {settings.port}`, or correct the address "
            f"(it came from {settings.sources.get('HOST', 'the default')})",
            host=settings.host,
            port=settings.port,
        ) from error


def _dial_near(settings: Settings) -> Link | None:
    """Connect to a server of our own user on this machine; None if there is none."""
    there = local_socket.find_connection_file(settings.host, settings.port)
    near = local_socket.connect(there) if there is not None else None
    if near is None:
        return None
    near.settimeout(DIAL_TIMEOUT_S)
    return _shake_hands(Link(near, settings), None, peer_trusted=local_socket.peer_is_us(near))


def _connect_tls(settings: Settings) -> ssl.SSLSocket:
    plain = socket.create_connection((settings.host, settings.port), timeout=DIAL_TIMEOUT_S)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client_context().wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


def _shake_hands(link: Link, binding: bytes | None, *, peer_trusted: bool) -> Link:
    settings = link.settings
    link.deadline_s = time.monotonic() + DIAL_TIMEOUT_S
    hello = wire.Hello(
        protocol=wire.PROTOCOL,
        role="controller",
        version=__version__,
        python=sys.version_info[:2],
        host=platform.node(),
        pid=os.getpid(),
        descriptors=peer_trusted and available(),
        shortcuts=peer_trusted and available(),
    )
    try:
        handshake = ClientHandshake(
            hello,
            username=settings.username if settings.secret_key is not None else None,
            secret_key=settings.secret_key,
            channel_binding=binding,
            peer_trusted=peer_trusted,
            host=settings.host,
            port=settings.port,
        )
        for message in handshake.start():
            link.send(message)
        while not handshake.done:
            for message in handshake.receive(link.receive()[0]):
                link.send(message)
    except (AuthenticationError, ProtocolError) as error:
        try:
            link.send(error_frame(error))
        except OSError:
            pass  # the server was faster
        link.close()
        raise
    except BaseException:
        link.close()
        raise
    link.welcome = handshake.welcome
    link.descriptors = hello.descriptors and link.welcome is not None and link.welcome.descriptors
    link.deadline_s = None
    return link


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)
