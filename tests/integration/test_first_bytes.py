"""What a stranger's first bytes get from real sockets: one error line, and the end.

In memory this cannot be shown: a socket that is closed with unread bytes in it resets the
connection, and the error line is lost on the way.
"""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from achilles.lineReceiver.messages import Error
from achilles.lineReceiver.tls import client_context, server_certificate
from achilles.lineReceiver.wire import FrameParser

SERVER = """
import sys
from pathlib import Path
from twisted.internet import reactor, stdio
from twisted.internet.protocol import Factory, Protocol
from achilles.lineReceiver.protocol import AchillesProtocol
from achilles.lineReceiver.tls import server_certificate
from achilles.lineReceiver.tls_twisted import SniffingFactory

class Parent(Protocol):
    def connectionLost(self, reason):
        reactor.stop()

directory = Path(sys.argv[1])
inner = Factory.forProtocol(AchillesProtocol)
tcp = reactor.listenTCP(0, SniffingFactory(inner, server_certificate(directory, "s")), interface="127.0.0.1")
reactor.listenUNIX(str(directory / "s"), inner)
stdio.StandardIO(Parent())
print(tcp.getHost().port, flush=True)
reactor.run()
"""

PICKLE = pickle.dumps(["x" * 3_000_000])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port and the Unix socket of a server process, which ends when its input does."""
    directory = tmp_path_factory.mktemp("s")
    server_certificate(directory, "s")
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        yield int(child.stdout.readline()), directory / "s"
        child.communicate(timeout=30)
    assert child.returncode == 0


def read_to_end(connection: socket.socket) -> bytes:
    received = bytearray()
    while part := connection.recv(65_536):
        received += part
    return bytes(received)


def assert_refused(connection: socket.socket, because: str) -> None:
    connection.settimeout(30)
    connection.sendall(PICKLE)
    ((error, _),) = FrameParser().feed(read_to_end(connection))
    assert isinstance(error, Error)
    assert error.code == "protocol" and because in error.message


def test_a_pickle_on_the_tcp_port(server: tuple[int, Path]) -> None:
    with socket.create_connection(("127.0.0.1", server[0])) as connection:
        assert_refused(connection, "this port speaks TLS 1.3")


def test_a_pickle_inside_tls(server: tuple[int, Path]) -> None:
    plain = socket.create_connection(("127.0.0.1", server[0]))
    with client_context().wrap_socket(plain) as connection:
        assert_refused(connection, "starts with one of {PRpr")


def test_a_pickle_on_the_unix_socket(server: tuple[int, Path]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server[1]))
        assert_refused(connection, "starts with one of {PRpr")
