"""A controller's end of a shortcut: who reads it when, and how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from achilles.lineReceiver import controller_shortcut
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.controller_shortcut import ControllerShortcut
from achilles.lineReceiver.wire import frame_segments
from achilles.workers.loop import SelectorLoop


class Listener:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[wire.Message] = []
        self.changed = threading.Condition()
        self.out = 0
        self.ended = 0

    def frame_received(self, message: wire.Answer | wire.Output, chunks: list[Any]) -> None:
        with self.changed:
            self.heard.append(message)
            self.changed.notify_all()

    def shortcut_ended(self) -> None:
        with self.changed:
            self.ended += 1
            self.changed.notify_all()

    def calls_out(self) -> int:
        return self.out

    def until(self, wanted: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(wanted, 10)


class Line(socket.socket):
    """A socket on which Ctrl-C is pressed while it sends, or while it reads."""

    interrupted = False

    def sendmsg(self, *arguments: Any) -> int:
        if self.interrupted:
            raise KeyboardInterrupt
        return super().sendmsg(*arguments)

    def recvmsg(self, *arguments: Any) -> Any:
        if self.interrupted:
            raise KeyboardInterrupt
        return super().recvmsg(*arguments)


def has_ended(end: socket.socket) -> bool:
    """Whether the other end is closed; with something that it has not read, that is an error."""
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def loop() -> Iterator[SelectorLoop]:
    found = SelectorLoop()
    found.start()
    yield found
    found.stop()


Ends = tuple[ControllerShortcut, Listener, Line, socket.socket]


@pytest.fixture
def ends(loop: SelectorLoop) -> Iterator[Ends]:
    """A shortcut, who listens to it, its socket, and the other end."""
    ours, theirs = socket.socketpair()
    line = Line(fileno=ours.detach())
    line.setblocking(False)
    theirs.settimeout(10)
    listener = Listener()
    shortcut = ControllerShortcut(line, loop, listener)
    turned(loop)
    yield shortcut, listener, line, theirs
    shortcut.end()
    turned(loop)
    assert line.fileno() < 0
    theirs.close()


def turned(loop: SelectorLoop) -> None:
    """The loop has done what it was asked to."""
    done = threading.Event()
    loop.callFromThread(done.set)
    assert done.wait(10)


def frame(message: wire.Message, payload: bytes = b"") -> bytes:
    return b"".join(frame_segments(message, [payload]))


def always() -> bool:
    return True


def test_what_comes_is_read_by_who_pumps(ends: Ends) -> None:
    shortcut, listener, _, theirs = ends
    shortcut.send(wire.Call(3, 1, 0), [b"argu", b"ment"])
    assert theirs.recv(99) == b"C 3 1 0 8\r\nargument"
    theirs.send(frame(wire.Answer(1, 0, 5), b"result") + frame(wire.Output(job=3, stream=1), b"x\n"))
    while len(listener.heard) < 2 and shortcut.pump(10, always):
        pass
    assert [type(message) for message in listener.heard] == [wire.Answer, wire.Output]


def test_nothing_comes_in_time(ends: Ends) -> None:
    shortcut, listener, _, _ = ends
    assert not shortcut.pump(0.001, always) and not listener.heard and not shortcut.ended


@pytest.mark.skipif(not controller_shortcut.SPINS, reason="there is one core")
def test_only_who_is_alone_looks_out_before_he_sleeps(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    shortcut, listener, _, _ = ends
    looks: list[int] = []

    class Looking:
        def spin(self, poller: Any) -> bool:
            looks.append(listener.out)
            return False

    monkeypatch.setattr(shortcut, "_spinning", Looking())
    for listener.out in (0, 1, 2, 3, 1):
        assert not shortcut.pump(0.001, always)
    assert looks == [1, 1]


def test_the_loop_hears_what_nobody_pumps_for(ends: Ends) -> None:
    shortcut, listener, _, theirs = ends
    listener.out = 2
    for number in range(3):
        assert not shortcut.pump(0.001, always)
        theirs.send(frame(wire.Answer(number, 0, 5), b"result"))
        listener.until(lambda number=number: len(listener.heard) > number)


def test_one_thread_pumps_at_a_time(ends: Ends) -> None:
    shortcut, listener, _, theirs = ends
    first = threading.Thread(target=shortcut.pump, args=[10, always])
    first.start()
    while shortcut.pump(0.001, always) or not shortcut._pumping.locked():
        pass
    assert not shortcut.pump(10, always)
    theirs.send(frame(wire.Answer(1, 0, 5)))
    first.join(10)
    assert len(listener.heard) == 1


def test_the_other_side_closes_it(ends: Ends) -> None:
    shortcut, listener, _, theirs = ends
    theirs.close()
    listener.until(lambda: listener.ended)
    assert shortcut.ended and not shortcut.pump(10, always)
    shortcut.send(wire.Call(3, 1, 0))
    shortcut.end()
    assert listener.ended == 1


def test_the_other_side_closes_it_while_somebody_pumps(ends: Ends) -> None:
    shortcut, listener, _, theirs = ends
    closing = threading.Timer(0.01, theirs.close)
    closing.start()
    while not shortcut.ended:
        shortcut.pump(10, always)
    closing.join()
    assert listener.ended == 1


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense",
        b"A 1 9 9 9\r\n",
        b"a 1 0 5 99\r\n",
        b"C 1 1 0 0\r\n",
        frame(wire.Ping(1)),
        frame(wire.Error("protocol", "you are wrong")),
    ],
)
def test_what_may_not_come_ends_it(ends: Ends, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    shortcut, listener, _, theirs = ends
    theirs.send(said)
    listener.until(lambda: listener.ended)
    assert shortcut.ended and not listener.heard
    assert theirs.recv(1) == b""
    assert "cannot be used any more" in caplog.text


def test_ctrl_c_while_it_reads_ends_it(ends: Ends) -> None:
    shortcut, listener, line, theirs = ends
    assert not shortcut.pump(0.001, always)  # from here on the loop is not told of what comes
    line.interrupted = True
    theirs.send(b"A")
    with pytest.raises(KeyboardInterrupt):
        shortcut.pump(10, always)
    line.interrupted = False
    assert shortcut.ended and listener.ended == 1
    assert has_ended(theirs)


def test_ctrl_c_while_it_sends_ends_it(ends: Ends) -> None:
    shortcut, listener, line, _ = ends
    line.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        shortcut.send(wire.Call(3, 1, 0))
    line.interrupted = False
    assert shortcut.ended and listener.ended == 1


def test_a_node_that_reads_nothing_ends_it(ends: Ends) -> None:
    shortcut, listener, _, _ = ends
    number = 0
    while not shortcut.ended:
        shortcut.send(wire.Call(3, number, 0), [bytes(wire.MAX_CALL_BYTES)])
        number += 1
        assert number < 1000
    assert listener.ended == 1


def test_more_than_the_socket_takes_at_once_is_sent_while_the_node_reads(ends: Ends) -> None:
    shortcut, _, _, theirs = ends
    came = bytearray()

    def read() -> None:
        while len(came) < 200 * 65_536:
            came.extend(theirs.recv(1 << 20))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        shortcut.send(wire.Call(3, number, 0), [bytes(1000)] * 65 + [bytes(536)])
    reader.join(20)
    assert not shortcut.ended and came.count(b"C 3 ") == 200


def test_a_forked_child_closes_its_copy_and_says_nothing(ends: Ends) -> None:
    shortcut, _, line, theirs = ends
    copy = socket.socket(fileno=line.dup().detach())
    mine = ControllerShortcut(copy, SelectorLoop(), Listener())
    mine.abandon()
    assert copy.fileno() < 0
    shortcut.send(wire.Call(3, 1, 0))
    assert theirs.recv(99) == b"C 3 1 0 0\r\n"
