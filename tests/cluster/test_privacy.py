"""What somebody on the wire between a node and the server can see and do."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from achilles import AuthenticationError, map
from achilles.lineReceiver.tls import server_certificate
from tests.cluster.conftest import SECRET_KEY, USERNAME, Cluster

MARK = "a payload that nobody may see"


class Proxy:
    """Passes bytes on between whoever connects and the server, and keeps them."""

    def __init__(self, port: int, inside: ssl.SSLContext | None = None) -> None:
        self.seen = bytearray()
        self._server_port = port
        self._inside = inside
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        try:
            while True:
                near: socket.socket = self._listener.accept()[0]
                far: socket.socket = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [near, far]
                if self._inside is not None:
                    near = self._inside.wrap_socket(near, server_side=True)
                    outside = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    outside.check_hostname, outside.verify_mode = False, ssl.CERT_NONE
                    far = outside.wrap_socket(far)
                    self._open += [near, far]
                self._start(self._pass, near, far)
                self._start(self._pass, far, near)
        except OSError:
            return

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.seen += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        for thread in self._threads:
            thread.join(5)


def shout(text: str) -> str:
    return text.upper()


def test_a_recording_proxy_sees_neither_key_nor_payload(cluster: Cluster) -> None:
    proxy = Proxy(cluster.port)
    try:
        node = cluster.start_node(1, port=proxy.port, with_key=True, ACHILLES_LOCAL_SOCKET="off")
        node.wait_for("CLIENT_ID:")
        assert map(shout, [MARK], **cluster.where) == [[MARK.upper()]]
        for secret in (SECRET_KEY, USERNAME + ",", MARK, MARK.upper(), "shout"):
            assert secret.encode() not in proxy.seen
        assert len(proxy.seen) > 1000
    finally:
        proxy.close()


@pytest.mark.filterwarnings("ignore::ssl.SSLWarning" if hasattr(ssl, "SSLWarning") else "default")
def test_a_proxy_with_a_certificate_of_its_own_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    own = server_certificate(tmp_path / "proxy", "proxy")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.pem_path)
    proxy = Proxy(cluster.port, context)
    try:
        node = cluster.start_node(1, port=proxy.port, with_key=True, ACHILLES_LOCAL_SOCKET="off")
        node.wait_for("achilles.errors.AuthenticationError:")
        assert node.wait_for_end() != 0
        assert "certificate" in node.lines[-1]
        assert SECRET_KEY.encode() not in proxy.seen
        cluster.wait_for(lambda status: status.nodes == [])
    finally:
        proxy.close()


@pytest.mark.parametrize("local_socket", ["on", "off"])
def test_a_wrong_key_is_refused(cluster: Cluster, local_socket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", local_socket)
    with pytest.raises(AuthenticationError, match="wrong") as refusal:
        map(shout, ["x"], **{**cluster.where, "secret_key": "not the key at all"})
    assert "not the key at all" not in str(refusal.value)


def test_no_key_over_tcp_says_what_to_do(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    with pytest.raises(AuthenticationError, match="asks for a username and secret_key: pass them"):
        map(shout, ["x"], host="127.0.0.1", port=cluster.port)


def test_what_lies_on_disk_is_for_this_user_alone(cluster: Cluster) -> None:
    runtime = Path(cluster.environment["XDG_RUNTIME_DIR"]) / "achilles"
    assert runtime.stat().st_mode & 0o077 == 0
    connection_files = list(runtime.glob("*.json"))
    certificates = list(Path(cluster.environment["XDG_STATE_HOME"]).rglob("*.pem"))
    assert connection_files and certificates
    for path in (*connection_files, *certificates):
        assert path.stat().st_mode & 0o077 == 0
        assert SECRET_KEY not in path.read_text()
