"""Calls to a cluster's idle workers, without a cluster."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from achilles.engines.open_calls import LONG_US
from achilles.engines.remote_calls import MOST_SKIPPED, RemoteCall, RemoteCalls
from achilles.lineReceiver import messages as wire


class Connection:
    """Notes what is sent; what a test gives it comes while the caller pumps."""

    def __init__(self) -> None:
        self.sent: list[wire.Message] = []
        self.coming: list[Any] = []

    def send(self, message: wire.Message, segments: Any = ()) -> None:
        self.sent.append(message)

    def pump(self, patience_s: float, wanted: Any) -> bool:
        if not self.coming:
            return False
        self.coming.pop(0)()
        return True


def made(calls: RemoteCalls, connection: Any, job: int = 1) -> RemoteCall:
    call = calls.make(connection, job)
    assert call is not None
    return call


def refused(calls: RemoteCalls, call: RemoteCall) -> None:
    calls.came(wire.Answer(call.number, wire.CALL_REFUSED, 0), [])
    assert call.is_over and call.answer is None


def test_an_answer_that_comes_while_the_caller_reads() -> None:
    calls, connection = RemoteCalls(print, print), Connection()
    call = made(calls, connection)
    connection.coming = [
        lambda: None,  # something else
        lambda: calls.came(wire.Answer(call.number, 0, 7), [b"re", b"sult"]),
    ]
    call.call(5, [b"argument"])
    assert connection.sent == [wire.Call(1, call.number, 5)]
    call.wait(60)
    assert call.is_over and call.answer == (0, 7_000, bytearray(b"result"))


def test_an_answer_that_comes_while_the_caller_sleeps() -> None:
    calls, connection = RemoteCalls(print, print), Connection()
    call = made(calls, connection)
    call.call(0, [])
    call.wait(0.001)
    assert not call.is_over
    answering = threading.Timer(0.01, calls.came, [wire.Answer(call.number, 2, 7), [b"failed"]])
    answering.start()
    while not call.is_over:
        call.wait(60)
    answering.join()
    assert call.answer == (2, 7_000, bytearray(b"failed"))


def test_what_nobody_waits_for_is_dropped() -> None:
    calls, connection = RemoteCalls(print, print), Connection()
    call = made(calls, connection)
    call.give_up()
    call.give_up()
    assert connection.sent == [wire.GiveUp(call=call.number)]
    calls.came(wire.Answer(call.number, 0, 7), [b"late"])
    calls.came(wire.Answer(99, 0, 7), [b"never asked"])
    assert call.answer is None


def test_those_of_a_job_end_with_it_and_all_with_the_connection() -> None:
    calls, connection = RemoteCalls(print, print), Connection()
    first, second = made(calls, connection, 1), made(calls, connection, 2)
    calls.end(1)
    assert first.is_over and not second.is_over
    calls.end()
    calls.end()
    assert second.is_over and second.answer is None


def test_after_long_ones_fewer_and_fewer_are_tried_until_one_is_short() -> None:
    calls, connection = RemoteCalls(print, print), Connection()

    def skipped(busy_us: int) -> int:
        """How many go another way before one is tried, which takes so long."""
        number = 0
        while (call := calls.make(connection, 1)) is None:
            number += 1
        calls.came(wire.Answer(call.number, 0, busy_us), [b"result"])
        assert call.answer is not None
        return number

    assert [skipped(2 * LONG_US) for _ in range(4)] == [0, 1, 3, 7]
    assert [skipped(LONG_US // 2) for _ in range(3)] == [15, 0, 0]


def test_after_refusals_fewer_and_fewer_are_tried_until_one_is_run() -> None:
    calls, connection = RemoteCalls(print, print), Connection()
    skipped = []
    for _ in range(12):
        refused(calls, made(calls, connection))
        count = 0
        while (call := calls.make(connection, 1)) is None:
            count += 1
        skipped.append(count)
        call.give_up()
    assert skipped == [1, 3, 7, 15, 31, 63, 127, 255, 255, 255, 255, MOST_SKIPPED]
    refused_then_run = calls.make(connection, 1)
    assert refused_then_run is not None
    calls.came(wire.Answer(refused_then_run.number, 0, 1), [])
    refused(calls, made(calls, connection))
    assert calls.make(connection, 1) is None
    made(calls, connection)


def test_a_call_that_is_lost_says_nothing_of_the_next() -> None:
    calls, connection = RemoteCalls(print, print), Connection()
    call = made(calls, connection)
    calls.came(wire.Answer(call.number, wire.CALL_LOST, 0), [])
    assert call.is_over and call.answer is None
    made(calls, connection)


def test_who_is_interrupted_while_he_reads_says_that_the_connection_is_broken() -> None:
    told: list[str] = []
    calls, connection = RemoteCalls(told.append, print), Connection()

    def interrupt() -> None:
        raise KeyboardInterrupt

    connection.coming = [interrupt]
    call = made(calls, connection)
    with pytest.raises(KeyboardInterrupt):
        call.call(0, [])
    assert len(told) == 1
