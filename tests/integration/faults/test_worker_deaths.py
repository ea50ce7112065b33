"""Workers that die in the middle of an item: who notices, who is charged, what the caller learns."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time

import pytest

import achilles
from achilles.errors import WorkerDiedError


def die(how):
    print("last words of", how, file=sys.stderr)
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "memory":
        # No more memory at all, not even for Python to say so.
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 20, 1 << 20))
        ctypes.memset(ctypes.CDLL(None).malloc(1 << 30), 0, 1 << 30)
    return how


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [
        ("exit", 3),
        ("kill", -signal.SIGKILL),
        ("segfault", -signal.SIGSEGV),
        ("memory", -signal.SIGSEGV),
    ],
)
def test_a_deadly_item_fails_alone_with_all_that_is_known(place, capsys, how, exit_code) -> None:
    arguments = ["fine"] * 7 + [how] + ["fine"] * 7
    packets = achilles.map(die, arguments, chunksize=5, on_error="return", **place.call)
    results = [result for packet in packets for result in packet]
    error = results.pop(7)
    assert results == ["fine"] * 14
    assert isinstance(error, WorkerDiedError)
    assert (error.index, error.attempts, error.exit_code) == (7, 3, exit_code)
    assert error.node == ("this machine" if place.name == "local" else f"node {socket.gethostname()}")
    assert error.stderr.startswith(f"last words of {how}")
    assert f"last words of {how}" in str(error) and "item 7" in str(error)
    assert error.peak_rss_bytes is None or error.peak_rss_bytes > 5e6
    assert capsys.readouterr().err.count(f"item 7] last words of {how}\n") == 3


def test_a_death_is_noticed_at_once_and_its_item_runs_again(place, tmp_path) -> None:
    def die_once(mark):
        if not os.path.exists(mark):
            with open(mark, "w") as file:
                file.write(str(time.monotonic_ns()))
            os.kill(os.getpid(), signal.SIGKILL)
        with open(mark) as file:
            return time.monotonic_ns() - int(file.read())

    place.settled()
    ((recovery_ns,),) = achilles.map(die_once, [str(tmp_path / "mark")], **place.call)
    assert recovery_ns < 5e9  # no heartbeat, however much else the machine does


def test_one_killer_among_ten_thousand(place) -> None:
    def kill_at(x):
        if x == 4321:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    packets = achilles.map(kill_at, range(10_000), chunksize=50, on_error="return", **place.call)
    results = [result for packet in packets for result in packet]
    assert len(results) == 10_000
    assert [index for index, result in enumerate(results) if result != index] == [4321]
    assert results[4321].index == 4321


def test_another_job_is_untouched_by_deaths(place) -> None:
    def die_always(x):
        os._exit(1)

    with achilles.imap(die_always, range(3), on_error="return", **place.call) as deadly:
        packets = achilles.map(abs, range(300), chunksize=10, **place.call)
        assert [result for packet in packets for result in packet] == list(range(300))
        errors = [result for packet in deadly for result in packet["RESULT"]]
    assert [error.index for error in errors] == [0, 1, 2]
