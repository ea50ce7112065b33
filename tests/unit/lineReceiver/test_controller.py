"""The controller's end of a connection: when another call may use it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from achilles.config import Settings
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.achilles_controller import Controller
from achilles.lineReceiver.dialling import Link
from achilles.workers.loop import SelectorLoop


class Nobody:
    """Does not listen."""

    def frame_received(self, message: wire.Message, chunks: list[Any]) -> None: ...

    def connection_lost(self, reason: BaseException | str) -> None: ...


class Line(socket.socket):
    """A socket on which Ctrl-C is pressed while it sends."""

    interrupted = False

    def sendmsg(self, *arguments: Any) -> int:
        if self.interrupted:
            raise KeyboardInterrupt
        return super().sendmsg(*arguments)


@pytest.fixture
def ends() -> Iterator[tuple[Controller, Line, socket.socket]]:
    """A controller whose loop never runs, its socket, and the other end."""
    ours, theirs = socket.socketpair()
    line = Line(fileno=ours.detach())
    loop = SelectorLoop()
    yield Controller(Link(line, Settings()), loop, Nobody()), line, theirs
    loop.stop()
    line.close()
    theirs.close()


Ends = tuple[Controller, Line, socket.socket]


def test_it_is_quiet_when_all_is_sent(ends: Ends) -> None:
    controller, _, theirs = ends
    assert controller.is_quiet()
    controller.send(wire.Cancel(1))
    assert controller.is_quiet()
    theirs.send(b'{"type":"capacity","nodes":1,"slots":1}\r\n')  # news wait for the loop, and harm nobody
    assert controller.is_quiet()


def test_it_is_not_while_something_waits_to_be_sent(ends: Ends) -> None:
    controller, _, _ = ends
    controller.send(wire.Submit(1, "0" * 64, "s", 1), [bytes(1 << 24)])
    assert not controller.is_quiet()


def test_it_is_not_once_the_other_end_is_closed(ends: Ends) -> None:
    controller, _, theirs = ends
    theirs.send(b'{"type":"capacity","nodes":1,"slots":1}\r\n')
    theirs.close()
    assert not controller.is_quiet()


def test_it_is_not_after_an_interrupted_write(ends: Ends) -> None:
    controller, line, _ = ends
    line.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        controller.send(wire.Cancel(1))
    line.interrupted = False
    assert not controller.is_quiet()
    controller.send(wire.Cancel(2))
    assert not controller.is_quiet()


def test_a_forked_childs_copy_is_closed_without_a_word(ends: Ends) -> None:
    controller, line, theirs = ends
    controller.abandon()
    assert line.fileno() == -1
    assert not controller.is_quiet()
    assert theirs.recv(100) == b""
    controller.send(wire.Cancel(1))
    controller.close()
