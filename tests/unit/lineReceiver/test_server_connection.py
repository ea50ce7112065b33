"""The server's end of a connection that gives up before it is authenticated."""

from __future__ import annotations

import logging

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from achilles.errors import AuthenticationError
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.admission import Admission
from achilles.lineReceiver.handshake import Verifiers, error_frame
from achilles.lineReceiver.server import AchillesServer
from achilles.lineReceiver.server_connection import ServerConnection
from achilles.lineReceiver.wire import Limits


def connected() -> tuple[ServerConnection, StringTransport, Clock, Admission]:
    clock, admission = Clock(), Admission(failures=1)
    server = AchillesServer(clock, "127.0.0.1:9999", lambda: None)
    connection = ServerConnection(
        server, Verifiers("ada", "0123456789abcdef"), b"binding", Limits(), admission
    )
    transport = StringTransport()
    connection.makeConnection(transport)
    return connection, transport, clock, admission


def test_a_client_that_gives_up_is_neither_answered_nor_held_against_its_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection, transport, clock, admission = connected()
    with caplog.at_level(logging.WARNING):
        connection.dataReceived(wire.encode(error_frame(AuthenticationError("no key\x1b[31m"))))
    assert transport.value() == b""
    assert transport.disconnecting
    assert connection.closing
    assert caplog.records == []
    assert admission.admits(transport.getPeer().host, clock.seconds())


def test_a_frame_that_is_not_allowed_is_named_in_good_english() -> None:
    connection, transport, _, _ = connected()
    connection.dataReceived(wire.encode(wire.Exhausted(job=1)))
    assert b"an exhausted frame is not allowed here" in transport.value()


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("10.0.0.7", ("lab7", "10.0.0.7")),
        ("::ffff:10.0.0.7", ("lab7", "10.0.0.7")),
        ("fd00::7", ("lab7", "fd00::7")),
        ("127.0.0.1", ("lab7", "127.0.0.1", "localhost")),
        ("::1", ("lab7", "::1", "localhost")),
        ("", ("lab7", "127.0.0.1", "localhost")),  # the local socket
    ],
)
def test_a_node_is_known_by_its_name_and_address(address: str, names: tuple[str, ...]) -> None:
    connection, _, _, _ = connected()
    connection.hello = wire.Hello(1, "node", host="lab7")
    connection._address = address
    assert connection.names == names
