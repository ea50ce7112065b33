"""The controller's end of a connection: when another call may use it."""

from __future__ import annotations

import socket
import threading
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


class Listener:
    """Notes which thread handed it what."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.lost: list[BaseException | str] = []
        self.changed = threading.Condition()
        self.failing: BaseException | None = None

    def frame_received(self, message: wire.Message, chunks: list[Any]) -> None:
        assert isinstance(message, wire.Capacity)
        with self.changed:
            self.heard.append((threading.current_thread().name, message.nodes))
            self.changed.notify_all()
        if self.failing is not None:
            raise self.failing

    def connection_lost(self, reason: BaseException | str) -> None:
        with self.changed:
            self.lost.append(reason)
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.heard) + len(self.lost) >= count, 10)


Alive = tuple[Controller, Listener, socket.socket]


@pytest.fixture
def alive() -> Iterator[Alive]:
    """A controller on a loop that runs, its listener, and the other end."""
    ours, theirs = socket.socketpair()
    loop = SelectorLoop("the loop")
    loop.start()
    listener = Listener()
    controller = Controller(Link(ours, Settings()), loop, listener)
    controller.start()
    theirs.send(news(0))
    listener.wait_for(1)
    assert listener.heard.pop() == ("the loop", 0)
    yield controller, listener, theirs
    controller.close()
    closed = threading.Event()
    loop.callFromThread(closed.set)
    assert closed.wait(10)
    loop.stop()
    theirs.close()
    assert ours.fileno() == -1


def news(nodes: int) -> bytes:
    return b'{"type":"capacity","nodes":%d,"slots":1}\r\n' % nodes


def always() -> bool:
    return True


def test_whoever_pumps_hands_over_what_comes(alive: Alive) -> None:
    controller, listener, theirs = alive
    for number in range(200):
        sender = threading.Timer(0.0005, theirs.send, [news(number)])
        sender.start()
        while not listener.heard:
            assert controller.pump(10.0, lambda: not listener.heard)
        sender.join()
        assert listener.heard.pop()[1] == number
    assert not listener.heard


def test_the_loop_reads_again_after_a_pump_in_vain(alive: Alive) -> None:
    controller, listener, theirs = alive
    assert not controller.pump(0.001, always)
    theirs.send(news(3))
    listener.wait_for(1)
    assert listener.heard == [("the loop", 3)]


def test_nothing_is_awaited_when_it_is_there_already(alive: Alive) -> None:
    controller, _, _ = alive
    assert controller.pump(30.0, lambda: False)


class Crossing:
    """Has the loop meet what arrives just while a thread leaves `Controller.pump`."""

    def __init__(self, controller: Controller) -> None:
        self._read, self._go_on, self._pumping = controller.doRead, controller._go_on, controller._pumping
        self.begun = threading.Event()
        self._done = threading.Event()
        controller.doRead = self.read
        controller._go_on = self.go_on
        controller._pumping = self
        self.acquire, self.locked = self._pumping.acquire, self._pumping.locked

    def read(self) -> Any:
        self.begun.set()
        try:
            return self._read()
        finally:
            self._done.set()

    def let_it_read(self) -> None:
        """Give the loop the time that it needs, unless it has to wait for this thread."""
        if self.begun.is_set():
            self._done.wait(0.2)

    def go_on(self) -> None:
        self._go_on()
        self.let_it_read()

    def release(self) -> None:
        self.let_it_read()
        self._pumping.release()


@pytest.mark.parametrize("in_vain", [True, False])
def test_what_comes_while_a_pump_ends_is_heard(alive: Alive, in_vain: bool) -> None:
    controller, listener, theirs = alive
    crossing = Crossing(controller)

    def wanted() -> bool:
        if not in_vain:
            theirs.send(news(1))
            assert crossing.begun.wait(10)
        return in_vain

    if in_vain:
        sender = threading.Timer(0.05, theirs.send, [news(1)])
        before = crossing._go_on
        crossing._go_on = lambda: (before(), sender.start(), crossing.begun.wait(10))
    controller.pump(0.001, wanted)
    listener.wait_for(1)
    assert listener.heard == [("the loop", 1)]


def test_one_thread_pumps_at_a_time(alive: Alive) -> None:
    controller, listener, theirs = alive
    inside = threading.Event()

    def first() -> None:
        controller.pump(10.0, lambda: inside.set() or True)

    thread = threading.Thread(target=first, name="the first")
    thread.start()
    assert inside.wait(10)
    assert not controller.pump(10.0, always)
    theirs.send(news(1))
    thread.join(10)
    assert listener.heard == [("the first", 1)]


def test_the_end_is_told_whoever_meets_it(alive: Alive) -> None:
    controller, listener, theirs = alive
    theirs.close()
    controller.pump(10.0, always)
    listener.wait_for(1)
    assert len(listener.lost) == 1 and not listener.heard
    assert not controller.pump(10.0, always)


def test_an_interrupted_pump_ends_the_connection(alive: Alive) -> None:
    controller, listener, theirs = alive
    listener.failing = KeyboardInterrupt()
    held, is_held = threading.Lock(), threading.Event()
    with held:
        controller._loop.callFromThread(lambda: (is_held.set(), held.acquire()))
        assert is_held.wait(10)  # so this thread is the one that reads
        theirs.send(news(1))
        with pytest.raises(KeyboardInterrupt):
            controller.pump(10.0, always)
    assert not controller.is_quiet()
    assert theirs.recv(10) == b"" and not listener.lost


def test_pumping_does_not_hold_up_what_is_being_sent(alive: Alive) -> None:
    controller, listener, theirs = alive
    payload = bytes(1 << 24)
    controller.send(wire.Submit(1, "0" * 64, "s", 1), [payload])
    received = 0

    def drain() -> None:
        nonlocal received
        while received < len(payload):
            received += len(theirs.recv(1 << 16))
        theirs.send(news(1))

    thread = threading.Thread(target=drain)
    thread.start()
    while not listener.heard:
        controller.pump(0.01, lambda: not listener.heard)
    thread.join(10)
    assert received > len(payload)


def test_the_loop_reads_on_as_soon_as_it_may(alive: Alive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the thread that had read for it has returned."""
    controller, listener, theirs = alive
    go_on, do_read, asked = controller._go_on, controller.doRead, threading.Event()

    def go_on_slowly() -> None:
        go_on()
        theirs.send(news(1))
        assert asked.wait(10)

    def heard_of() -> Any:
        try:
            return do_read()
        finally:
            asked.set()

    monkeypatch.setattr(controller, "_go_on", go_on_slowly)
    monkeypatch.setattr(controller, "doRead", heard_of)
    assert not controller.pump(0.0, lambda: True)
    listener.wait_for(1)
    assert listener.heard == [("the loop", 1)]
