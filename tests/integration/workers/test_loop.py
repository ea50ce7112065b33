"""SelectorLoop does what workers need of a reactor, from any thread."""

from __future__ import annotations

import logging
import socket
import threading
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
