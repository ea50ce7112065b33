"""What comes by descriptor for a shortcut is a connected socket, or is refused and closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from achilles.errors import ProtocolError
from achilles.lineReceiver import passed_sockets
from achilles.lineReceiver.passed_sockets import socket_of
from achilles.sealed import Descriptor


def a_pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def datagrams() -> int:
    one, other = socket.socketpair(type=socket.SOCK_DGRAM)
    other.close()
    return one.detach()


OTHERS: dict[str, Callable[[], int]] = {
    "pipe": a_pipe,
    "datagrams": datagrams,
    "directory": lambda: os.open("/", os.O_RDONLY),
    "TCP": lambda: socket.socket(socket.AF_INET).detach(),
    "not connected": lambda: socket.socket(socket.AF_UNIX).detach(),
}


def test_a_connected_one_is_taken_over() -> None:
    ours, theirs = socket.socketpair()
    descriptor = Descriptor(ours.detach())
    with theirs, socket_of(descriptor) as found:
        with pytest.raises(ValueError, match="closed"):
            descriptor.fileno()
        assert not found.getblocking() and not os.get_inheritable(found.fileno())
        theirs.send(b"x")
        assert found.recv(1) == b"x"


@pytest.mark.parametrize("what", OTHERS)
def test_another_descriptor_is_refused_and_closed(what: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ProtocolError, match="not of a socket"):
        socket_of(Descriptor(OTHERS[what]()))
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_users_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_sockets, "peer_is_us", lambda _: False)
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(ProtocolError, match="not of a socket"):
        socket_of(Descriptor(ours.detach()))
