"""Pools in programs with a reactor: each is a process of its own, since a reactor runs once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cluster.parties import Place, run_program

PROGRAM = """
import glob, itertools, os, sys, threading, time
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, inlineCallbacks
from achilles import TaskCancelled
from achilles.deferreds import DeferredPool

GATE = sys.argv[1]
pool = DeferredPool(2, WHERE)
ticks, longest_s, threads = [time.monotonic()], 0.0, set()

def tick():
    global longest_s
    longest_s = max(longest_s, time.monotonic() - ticks[-1])
    ticks.append(time.monotonic())
    ticking.append(reactor.callLater(0.005, tick))

ticking = []

def square(x):
    return x * x

def fail_at_three(x):
    if x == 3:
        raise LookupError(x)
    return x

def wait_at(gate):
    open(f"{gate}.{os.getpid()}", "w").close()
    while not os.path.exists(gate):
        time.sleep(0.01)

def sleep(delay_s):
    waiting = Deferred()
    reactor.callLater(delay_s, waiting.callback, None)
    return waiting

@inlineCallbacks
def until_begun():
    while not glob.glob(GATE + ".*"):
        yield sleep(0.01)
    for name in glob.glob(GATE + ".*"):
        os.remove(name)

@inlineCallbacks
def main():
BODY

def here(result):
    threads.add(threading.get_ident())
    return result

def done(result):
    if result is not None:
        result.printTraceback()
    ticking[-1].cancel()
    reactor.stop()

def begin():
    tick()
    main().addBoth(done)

reactor.callWhenRunning(begin)
reactor.run()
print(threads <= {threading.get_ident()})
"""


@pytest.fixture
def run(place: Place, reach: dict[str, Any]) -> Any:
    def run_with(body: str, *arguments: object) -> list[str]:
        where = ", ".join(f"{key}={value!r}" for key, value in reach.items())
        code = PROGRAM.replace("BODY", body).replace("WHERE", where)
        lines = run_program(place, "program.py", code, *arguments)
        return [line for line in lines if line and not line.startswith("ALERT:")]

    return run_with


def test_calls(run: Any) -> None:
    body = """
    print((yield pool.map(square, range(5)).addCallback(here)))
    print((yield pool.starmap(divmod, [(7, 2)])))
    print((yield pool.apply(int, ("11",), {"base": 2}).addCallback(here)))
    print(sum((yield gatherResults([pool.apply(square, (n,)) for n in range(100)]))))
    print((yield pool.map(fail_at_three, range(5), on_error="skip", progress=lambda *all: here(0))))
    for call in (pool.map(fail_at_three, [3]), pool.apply(fail_at_three, (3,))):
        try:
            yield call.addErrback(here)
        except LookupError as error:
            print(type(error).__name__, "fail_at_three" in str(error.__cause__))
    try:
        yield pool.map(time.sleep, [60], timeout=0.2)
    except TimeoutError:
        print("in time")
    yield pool.close()
    try:
        pool.map(square, [1])
    except ValueError as error:
        print(error)
    """
    assert run(body, "-") == [
        "[0, 1, 4, 9, 16]",
        "[(3, 1)]",
        "3",
        "328350",
        "[0, 1, 2, 4]",
        "LookupError True",
        "LookupError True",
        "in time",
        "Pool not running: it was closed or terminated",
        "True",
    ]


def test_each(run: Any) -> None:
    body = """
    got, drawn = [], itertools.count()

    def receive(result):
        here(None)
        got.append(result)
        # With nothing to wait for now and then, and never more drawn than was received.
        return sleep(0.001) if len(got) % 10 == 0 else None

    yield pool.each(square, range(1500), receive)
    print(got == [n * n for n in range(1500)])
    got.clear()
    yield pool.each(square, range(300), receive, ordered=False, chunksize=7)
    print(sorted(got) == [n * n for n in range(300)])
    got.clear()

    def enough(result):
        got.append(result)
        if len(got) == 30:
            raise LookupError("enough")
        return sleep(0.001)

    try:
        yield pool.each(square, drawn, enough, buffersize=2)
    except LookupError as error:
        print(error, len(got), next(drawn) <= 34)
    try:
        yield pool.each(fail_at_three, range(6), got.append)
    except LookupError:
        print(got[30:])
    got.clear()
    yield pool.each(fail_at_three, range(6), got.append, on_error="skip")
    print(got)
    got.clear()
    shown = []
    progress = lambda *counts: shown.append(counts)
    yield pool.each(square, range(10), got.append, chunksize=4, reducer=sum, progress=progress)
    print(got, shown)
    yield pool.terminate()
    """
    assert run(body, "-") == [
        "True",
        "True",
        "enough 30 True",
        "[0, 1, 2]",
        "[0, 1, 2, 4, 5]",
        "[14, 126, 145] [(4, 10), (8, 10), (10, 10)]",
        "True",
    ]


def test_cancelling_and_terminating(run: Any, place: Place) -> None:
    body = """
    for begin in (
        lambda: pool.map(wait_at, [GATE] * 4),
        lambda: pool.apply(wait_at, (GATE,)),
        lambda: pool.each(square, itertools.count(), lambda result: open(GATE + ".0", "w").close()),
    ):
        call = begin()
        yield until_begun()
        call.cancel()
        try:
            yield call
        except CancelledError:
            print("cancelled")
    print((yield pool.map(square, range(20), chunksize=1))[-1])
    call = pool.map(wait_at, [GATE])
    yield until_begun()
    one = pool.apply(wait_at, (GATE,))
    yield pool.terminate()
    for waiting in (call, one):
        try:
            yield waiting
        except TaskCancelled:
            print("terminated")
    print(len(ticks) > 20)
    """
    assert run(body, place.work / "gate") == [
        *["cancelled"] * 3,
        "361",
        *["terminated"] * 2,
        "True",
        "True",
    ]
