"""Functions that do to their process what they should not: the next item runs as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

import achilles
from achilles.errors import RemoteError, SerializationError


def close_descriptors():
    os.closerange(0, 3)


def close_streams():
    sys.stdout.close()
    sys.stderr.close()


def leave_children():
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]).returncode = 0
    if not os.fork():
        threading.Event().wait()


def leave_threads():
    for _ in range(5):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def change_directory():
    os.chdir("/")


def handle_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)


DEEDS = [
    close_descriptors,
    close_streams,
    leave_children,
    leave_threads,
    change_directory,
    handle_signals,
]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_the_node_is_unharmed_and_the_next_items_run(place, capsys, deed) -> None:
    def do(x):
        if x % 3 == 0:
            deed()
        print("alive", x)
        return x

    pids = place.settled()
    for _ in range(2):
        packets = achilles.map(do, range(12), chunksize=2, **place.call)
        assert [result for packet in packets for result in packet] == list(range(12))
    assert place.workers() == pids
    assert capsys.readouterr().out.count("alive") == 24


def test_nested_calls_run(place) -> None:
    def outer(x):
        packets = achilles.map(lambda y: y * 10, range(x), address="local")
        return sum(result for packet in packets for result in packet)

    assert achilles.map(outer, [3, 4], chunksize=2, **place.call)[0][:2] == [30, 60]


class Unpicklable(Exception):
    def __init__(self):
        super().__init__("has a lock")
        self.lock = threading.Lock()


class TwoArguments(Exception):
    def __init__(self, one, two):
        super().__init__("of two arguments")


def test_exceptions_that_travel_badly(place) -> None:
    def fail(how):
        if how == "exit":
            sys.exit(7)
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "recurse":
            return fail(how)
        if how == "unpicklable":
            raise Unpicklable
        if how == "two":
            raise TwoArguments(1, 2)
        if how == "lock":
            return threading.Lock()
        return how

    hows = ["exit", "interrupt", "recurse", "unpicklable", "two", "lock", "fine"]
    pids = place.settled()
    packets = achilles.map(fail, hows, on_error="return", **place.call)
    errors = dict(zip(hows, [result for packet in packets for result in packet], strict=True))
    assert errors.pop("fine") == "fine"
    assert isinstance(errors["exit"], SystemExit) and errors["exit"].code == 7
    assert isinstance(errors["interrupt"], KeyboardInterrupt)
    assert isinstance(errors["recurse"], RecursionError)
    assert isinstance(errors["unpicklable"], RemoteError) and "has a lock" in str(errors["unpicklable"])
    assert isinstance(errors["two"], RemoteError | TwoArguments) and "two arguments" in str(errors["two"])
    assert isinstance(errors["lock"], SerializationError) and "item 5" in str(errors["lock"])
    assert place.workers() == pids
