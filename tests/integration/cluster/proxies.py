"""What may sit between a client and the server: somebody who listens, or somebody who pretends."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from achilles.lineReceiver.tls import client_context, server_certificate


class Proxy:
    """Passes bytes on between its own port and the server's, and keeps a copy of them.

    Args:
        target: The server's port.
        certificates: With a directory, ends TLS with a certificate of its own that lies there, and
            speaks TLS anew to the server; the copy is then of what was inside.
    """

    def __init__(self, target: int, certificates: Path | None = None) -> None:
        self._target = target
        self._context: ssl.SSLContext | None = None
        if certificates is not None:
            own = server_certificate(certificates, "impostor")
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(own.pem_path)
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.from_clients = bytearray()
        self.from_server = bytearray()
        self._start(self._accept)

    def _start(self, function: object, *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._target))
        try:
            if self._context is not None:
                near = self._context.wrap_socket(near, server_side=True)
                far = client_context().wrap_socket(far)
        except OSError:
            near.close()
            far.close()
            return
        with self._lock:
            self._sockets += [near, far]
        if self._context is not None:
            self._pass_both(near, far)
            return
        self._start(self._pass, far, near, self.from_server)
        self._pass(near, far, self.from_clients)

    def _pass_both(self, near: socket.socket, far: socket.socket) -> None:
        """Both directions in one thread, since a TLS connection must not be read and written at once."""
        ways = {near: (far, self.from_clients), far: (near, self.from_server)}
        for end in ways:
            end.setblocking(False)
        open_ends = True
        while open_ends:
            select.select(list(ways), [], [], 5)
            for source, (sink, copy) in ways.items():
                with contextlib.suppress(ssl.SSLWantReadError):
                    try:
                        data = source.recv(65536)
                        sink.send(data)  # small enough for what a handshake says
                    except (ssl.SSLEOFError, ConnectionError):
                        data = b""
                    copy += data
                    open_ends = open_ends and bool(data)
        self._shut(near, far)

    def _pass(self, source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    copy += data
                sink.sendall(data)
        self._shut(source, sink)

    @staticmethod
    def _shut(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        # A thread that waits in accept is woken by shutdown, not by close.
        self._shut(self._listener, *self._sockets)
        for thread in list(self._threads):
            thread.join(10)
        for each in [self._listener, *self._sockets]:
            each.close()


@contextlib.contextmanager
def proxy(target: int, certificates: Path | None = None) -> Iterator[Proxy]:
    found = Proxy(target, certificates)
    try:
        yield found
    finally:
        found.close()
