"""SelectorLoop does what workers need of a reactor, from any thread."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from achilles.workers import channel
from achilles.workers.channel import LoopChannel
from achilles.workers.loop import SelectorLoop

DEADLINE_S = 10.0


@pytest.fixture
def loop() -> Iterator[SelectorLoop]:
    loop = SelectorLoop()
    loop.start()
    yield loop
    loop.stop()


def test_calls_run_in_its_thread_and_in_order(loop) -> None:
    seen, done = [], threading.Event()
    for number in range(100):
        loop.callFromThread(seen.append, (number, None))
    loop.callFromThread(lambda: seen.append(loop.in_loop()))
    loop.callFromThread(done.set)
    assert done.wait(DEADLINE_S)
    assert seen == [*((number, None) for number in range(100)), True]


def test_delayed_calls_run_by_time_and_can_be_cancelled(loop) -> None:
    seen, done = [], threading.Event()
    cancelled = loop.callLater(0.01, seen.append, "cancelled")
    loop.callLater(0.04, done.set)
    loop.callLater(0.02, seen.append, "second")
    loop.callLater(0.0, seen.append, "first")
    cancelled.cancel()
    assert not cancelled.active()
    assert done.wait(DEADLINE_S)
    assert seen == ["first", "second"]


def test_delayed_calls_of_many_threads_all_run_and_none_too_soon(loop) -> None:
    late_s: list[float] = []
    done = threading.Semaphore(0)

    def add(number: int) -> None:
        for turn in range(50):
            due_s = time.monotonic() + (number * turn % 7) / 1000
            loop.callLater(due_s - time.monotonic(), lambda due_s=due_s: note(due_s))
            loop.callLater(0.002, done.release).cancel()

    def note(due_s: float) -> None:
        late_s.append(time.monotonic() - due_s)
        done.release()

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    assert all(done.acquire(timeout=DEADLINE_S) for _ in range(8 * 50))
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(late_s) == 400 and min(late_s) > -0.001


def test_a_delayed_call_wakes_the_loop_only_if_it_is_due_before_others(loop, wait) -> None:
    first, soon = threading.Event(), threading.Event()
    loop.callLater(3600, first.set)
    loop.callFromThread(soon.set)
    assert soon.wait(DEADLINE_S)  # so it has seen the first
    wait(lambda: loop._wakes_at_s > time.monotonic() + 3000 and not loop._wake_pending)
    for _ in range(10):
        loop.callLater(3700, first.set)
    assert not loop._wake_pending, "it was woken for nothing"
    soon.clear()
    loop.callLater(0.01, soon.set)
    assert soon.wait(DEADLINE_S) and not first.is_set()


def test_a_call_that_raises_does_not_end_the_loop(loop, caplog) -> None:
    done = threading.Event()
    with caplog.at_level(logging.CRITICAL, logger="achilles.workers"):
        loop.callFromThread(lambda: 1 / 0)
        loop.callFromThread(done.set)
        assert done.wait(DEADLINE_S)


def test_two_channels_exchange_more_than_the_kernel_buffers(loop) -> None:
    ours, theirs = socket.socketpair()
    messages, ended, arrived = [], threading.Event(), threading.Event()

    def keep(*message) -> None:
        messages.append(message)
        if len(messages) == 300:
            arrived.set()

    left = LoopChannel(loop, ours, lambda *message: None, lambda error: ended.set())
    right = LoopChannel(loop, theirs, keep, lambda error: None)
    left.start()
    payloads = [bytes([number % 256]) * (number * 997 % 100_000) for number in range(300)]
    for number, payload in enumerate(payloads):
        left.send(channel.UNIT, 0, number, segments=[payload[:10], memoryview(payload)[10:]])
    assert left.queued_bytes > 0
    right.start()
    assert arrived.wait(DEADLINE_S)
    assert [message[2] for message in messages] == list(range(300))
    assert [message[6] for message in messages] == payloads
    assert left.queued_bytes == 0
    loop.callFromThread(right.close)
    assert ended.wait(DEADLINE_S)
    loop.callFromThread(left.close)
    left.send(channel.EXIT)


class Echo:
    """A descriptor that notes which thread reads it."""

    def __init__(self, loop: SelectorLoop) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.read_in: list[int] = []
        self.came = threading.Event()
        self.then = lambda: None
        loop.addReader(self)

    def fileno(self) -> int:
        return self.ours.fileno()

    def logPrefix(self) -> str:
        return "echo"

    def doRead(self) -> None:
        self.ours.recv(100)
        self.read_in.append(threading.get_ident())
        self.then()
        self.came.set()

    def close(self, loop: SelectorLoop) -> None:
        loop.removeReader(self)
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def echo(loop) -> Iterator[Echo]:
    echo = Echo(loop)
    # Until the loop has come to it.
    added = threading.Event()
    loop.callFromThread(added.set)
    assert added.wait(DEADLINE_S)
    yield echo
    echo.close(loop)


def test_who_pumps_serves_and_then_the_loop_does_again(loop, echo) -> None:
    loop.lead()
    echo.theirs.send(b"1")
    assert loop.pump(DEADLINE_S, lambda: True)
    assert echo.read_in == [threading.get_ident()]
    echo.came.clear()
    echo.theirs.send(b"2")
    assert echo.came.wait(DEADLINE_S)
    assert echo.read_in[1:] == [loop._thread.ident]
    assert not loop.pump(0.0, lambda: True)
    assert loop.pump(DEADLINE_S, lambda: False)


def test_who_leads_and_lets_go_leaves_nothing_unheard(loop, echo) -> None:
    loop.lead()
    echo.theirs.send(b"1")
    called = threading.Event()
    loop.callFromThread(called.set)
    assert called.wait(DEADLINE_S)  # the loop's thread goes on with what others ask of it
    assert not echo.read_in
    loop.let_go()
    loop.let_go()
    assert echo.came.wait(DEADLINE_S)


def test_to_let_go_waits_for_nobody(loop, echo) -> None:
    loop.lead()
    mine, called = threading.Lock(), threading.Event()
    with mine:
        # As a timer's call waits for a job's lock, which the caller holds.
        loop.callFromThread(lambda: (called.set(), mine.acquire(), mine.release()))
        assert called.wait(DEADLINE_S)
        freed = threading.Timer(DEADLINE_S, mine.release)
        freed.start()
        loop.let_go()
        assert mine.locked()
        freed.cancel()
    echo.theirs.send(b"1")
    assert echo.came.wait(DEADLINE_S)


def test_one_thread_leads_at_a_time(loop, echo) -> None:
    loop.lead()
    answers = []
    other = threading.Thread(target=lambda: answers.append(loop.pump(DEADLINE_S, lambda: True)))
    other.start()
    other.join(DEADLINE_S)
    assert answers == [False]
    # What runs in the loop cannot leave the loop's descriptors to itself.
    led = threading.Event()
    loop.callFromThread(lambda: (loop.lead(), led.set()))
    assert led.wait(DEADLINE_S)
    loop.let_go()
    echo.theirs.send(b"1")
    assert echo.came.wait(DEADLINE_S)


def test_a_call_delayed_by_who_pumps_comes_in_time(loop, echo) -> None:
    later = threading.Event()
    echo.then = lambda: loop.callLater(0.01, later.set)
    echo.theirs.send(b"1")
    while not echo.came.is_set():
        loop.pump(0.01, lambda: True)
    assert later.wait(DEADLINE_S)


def test_a_loop_that_stops_waits_for_who_pumps(loop, echo) -> None:
    begun, ended = threading.Event(), []
    pumping = threading.Thread(
        target=lambda: ended.append(loop.pump(0.2, lambda: begun.set() or True)), daemon=True
    )
    pumping.start()
    assert begun.wait(DEADLINE_S)
    loop.stop()
    pumping.join(DEADLINE_S)
    assert ended == [False]
    assert not loop.pump(DEADLINE_S, lambda: True)
