"""Peers that say whatever a test wants: raw clients, and a server that lies."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.handshake import ClientHandshake, ServerHandshake, Verifiers
from achilles.lineReceiver.tls import client_context, end_point_binding, server_certificate
from achilles.lineReceiver.wire import FrameParser, Limits, frame_segments
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Cluster

TIMEOUT_S = 20.0


class Speaker:
    """One end of a connection, on a blocking socket."""

    def __init__(self, sock: Any) -> None:
        self.socket = sock
        self.socket.settimeout(TIMEOUT_S)
        self.parser = FrameParser(Limits())
        self.waiting: list[tuple[wire.Message, list[Any]]] = []

    def __enter__(self) -> Speaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, message: wire.Message, payload: bytes = b"") -> None:
        self.raw(b"".join(frame_segments(message, [payload])))

    def next(self) -> tuple[wire.Message, bytes]:
        """The next frame but heartbeats and news of nodes."""
        while True:
            while not self.waiting:
                data = self.socket.recv(65_536)
                if not data:
                    raise EOFError("the other side has closed the connection")
                self.waiting += self.parser.feed(data)
            message, chunks = self.waiting.pop(0)
            if not isinstance(message, wire.Ping | wire.Capacity):
                return message, b"".join(chunks)

    def expect(self, kind: type) -> Any:
        message, _ = self.next()
        assert isinstance(message, kind), message
        return message

    def refused(self, because: str) -> None:
        """The other side says why, and closes."""
        while not isinstance(message := self.next()[0], wire.Error):
            pass
        assert because in message.message, message.message


def hello(role: Any = "controller", **more: Any) -> wire.Hello:
    return wire.Hello(protocol=wire.PROTOCOL, role=role, python=(3, 11), **more)


def connect(cluster: Cluster, how: str) -> Speaker:
    """A connection to the server over ``tcp``, ``tls`` or ``unix``, nothing said yet."""
    if how == "unix":
        near = socket.socket(socket.AF_UNIX)
        near.connect(str(next((cluster.place.path / "run").rglob("*.sock"))))
        return Speaker(near)
    far = socket.create_connection(("127.0.0.1", cluster.port), timeout=TIMEOUT_S)
    return Speaker(client_context().wrap_socket(far) if how == "tls" else far)


def log_in(speaker: Speaker, role: str = "controller", cpu_count: int = 1, **more: Any) -> Speaker:
    """Come in as our own user on the Unix socket, or with the key over TLS."""
    tls = isinstance(speaker.socket, ssl.SSLSocket)
    shake = ClientHandshake(
        hello(role, cpu_count=cpu_count, **more),
        username=USERNAME if tls else None,
        secret_key=SECRET_KEY if tls else None,
        channel_binding=end_point_binding(speaker.socket.getpeercert(binary_form=True)) if tls else None,
        peer_trusted=not tls,
    )
    answers = shake.start()
    while not shake.done:
        for answer in answers:
            speaker.send(answer)
        answers = shake.receive(speaker.next()[0])
    return speaker


class LyingServer:
    """A server that knows the key, and follows a test's script after each login.

    Args:
        directory: For its certificate.
        script: Talks to one client; its connection is closed when it returns.
        honest_login: Whether the handshake is done before.
    """

    def __init__(
        self, directory: Path, script: Callable[[Speaker], None], *, honest_login: bool = True
    ) -> None:
        self._script = script
        self._honest = honest_login
        certificate = server_certificate(directory, "liar")
        self._binding = certificate.binding
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.pem_path)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.logins = threading.Semaphore(0)
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> LyingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()
        assert not self.errors, self.errors

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:
                return
            try:
                with Speaker(self._context.wrap_socket(plain, server_side=True)) as speaker:
                    if self._honest:
                        self._log_in(speaker)
                    self.logins.release()
                    self._script(speaker)
            except (EOFError, OSError):
                pass  # the client has had enough
            except BaseException as error:  # noqa: BLE001 - told to the test
                self.errors.append(error)

    def _log_in(self, speaker: Speaker) -> None:
        shake = ServerHandshake(Verifiers(USERNAME, SECRET_KEY), self._binding)
        while not shake.done:
            for answer in shake.receive(speaker.next()[0]):
                if isinstance(answer, wire.Welcome):
                    answer.nodes = answer.slots = 1
                speaker.send(answer)
