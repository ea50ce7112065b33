"""The connection that stays open between the calls of one program."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any

import pytest

from achilles import AuthenticationError, ServerUnreachable, getClusterStatus, imap, map
from achilles.config import load_settings
from achilles.engines import cluster as engine_module
from achilles.lineReceiver.achilles_controller import Controller, controller_loop
from achilles.lineReceiver.dialling import dial
from tests.integration.cluster import tasks
from tests.integration.cluster.parties import PROMPT_S, Cluster, own_descriptors, run_program, wait_until


class Count:
    """How many controllers have connected to a server since."""

    def __init__(self, cluster: Cluster) -> None:
        self._settings = load_settings(**cluster.with_key)
        self._last = self._number()

    def _number(self) -> int:
        link = dial(self._settings)
        link.close()
        assert link.welcome is not None
        return link.welcome.client_id

    def new(self) -> int:
        before, self._last = self._last, self._number()
        return self._last - before - 1


@pytest.fixture(params=["local", "tls"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "tls":
        monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    return str(request.param)


def test_ten_calls_are_one_connection(pair: Cluster, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    count = Count(pair)
    for number in range(10):
        assert map(tasks.square, [[number]], **pair.with_key) == [[number * number]]
        assert [packet["RESULT"] for packet in imap(tasks.square, [[2]], **pair.with_key)] == [[4]]
    assert count.new() == 1
    assert getClusterStatus(**pair.with_key).server["controllers"] == 2
    assert capfd.readouterr().out.count("ALERT: Connection to achilles_server") == 1


def test_a_call_that_fails_or_is_left_early_spoils_nothing(pair: Cluster) -> None:
    count = Count(pair)
    for _ in range(3):
        with pytest.raises(ValueError):
            map(tasks.refuse_thirds, [1, 2, 3, 4], **pair.address)
        for packet in imap(tasks.square, iter(range(10_000)), **pair.address):
            assert packet["ARGS_COUNTER"] == 0
            break
        assert map(tasks.square, [[3]], **pair.address) == [[9]]
    assert count.new() <= 4  # an iterator that is left in the middle of sending takes its connection along
    wait_until(lambda: not getClusterStatus(**pair.address).jobs)


def test_an_idle_connection_is_closed_in_time(pair: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    before = own_descriptors()
    monkeypatch.setattr(
        engine_module, "_idle", engine_module.IdleConnections(engine_module._later, idle_s=0.1)
    )
    assert map(tasks.square, [[3]], **pair.address) == [[9]]
    wait_until(lambda: getClusterStatus(**pair.address).server["controllers"] == 1, PROMPT_S)
    wait_until(lambda: own_descriptors() <= before, PROMPT_S)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_after_a_restart_of_the_server_the_next_call_works(
    moving: Cluster, how: str, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    node = moving.start_node(1)
    assert map(tasks.square, [[3]], **moving.with_key) == [[9]]
    lines = len(node.lines)
    moving.restart_server(number)
    node.wait_for("CLIENT_ID:", after=lines)
    with caplog.at_level(logging.WARNING, "achilles"):
        assert map(tasks.square, [[4]], **moving.with_key) == [[16]]
    assert not caplog.records


def test_a_server_that_is_gone_is_told_at_once(moving: Cluster) -> None:
    moving.start_node(1)
    assert map(tasks.square, [[3]], **moving.address) == [[9]]
    moving.server.stop()
    started_s = time.monotonic()
    with pytest.raises(ServerUnreachable, match="no achilles_server answers"):
        map(tasks.square, [[3]], **moving.address)
    assert time.monotonic() - started_s < 5.0
    moving.server = moving._server(moving.port)
    assert map(tasks.square, [[5]], **moving.address) == [[25]]


@pytest.mark.parametrize("comes_back", [True, False], ids=["restarted", "gone"])
def test_a_connection_that_was_lost_unnoticed(
    moving: Cluster, comes_back: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the server's machine was lost: the call itself is the first to hear of it."""
    node = moving.start_node(1)
    assert map(tasks.square, [[3]], **moving.address) == [[9]]
    lines = len(node.lines)
    heard = threading.Event()
    controller_loop().callFromThread(heard.wait, 30.0)
    monkeypatch.setattr(Controller, "is_quiet", lambda self: True)
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(map(tasks.square, [[4]], **moving.address))
        except ServerUnreachable as error:
            found.append(type(error))

    thread = threading.Thread(target=call)
    try:
        if comes_back:
            moving.restart_server(signal.SIGKILL)
            node.wait_for("CLIENT_ID:", after=lines)
        else:
            moving.server.stop(signal.SIGKILL)
        thread.start()
        wait_until(
            lambda: found or any(engine._jobs for engine in engine_module._engines), what="for the job"
        )
    finally:
        heard.set()
    thread.join(20)
    assert found == ([[[16]]] if comes_back else [ServerUnreachable])
    assert not caplog.records
    if not comes_back:
        moving.server = moving._server(moving.port)


def test_nodes_that_changed_meanwhile(moving: Cluster) -> None:
    first = moving.start_node(1)
    assert map(tasks.square, range(4), **moving.address) == [[0], [1], [4], [9]]
    moving.end_node(first)
    moving.start_node(2)
    assert map(tasks.square, range(4), **moving.address) == [[0, 1], [4, 9]]


def test_eight_threads_have_eight_connections_at_most(pair: Cluster) -> None:
    count = Count(pair)
    found: list[Any] = []

    def call(number: int) -> None:
        for _ in range(5):
            found.append(map(tasks.square, [[number]], **pair.address) == [[number * number]])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [True] * 40
    assert 1 <= count.new() <= 8


def test_one_proof_never_stands_for_another(pair: Cluster, how: str) -> None:
    right = pair.with_key
    assert map(tasks.square, [[3]], **right) == [[9]]
    count = Count(pair)
    for wrong in ({"secret_key": right["secret_key"][:-1]}, {"username": "fo"}):
        with pytest.raises(AuthenticationError):
            map(tasks.square, [[3]], **{**right, **wrong})
    if how == "local":
        assert map(tasks.square, [[3]], **pair.address) == [[9]]
        assert count.new() == 1
    else:
        with pytest.raises(AuthenticationError):
            map(tasks.square, [[3]], **pair.address)
        assert count.new() == 0
    assert map(tasks.square, [[3]], **right) == [[9]]
    assert count.new() == 0


FORKED = """
import gc, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from achilles import imap, map
from achilles.config import load_settings
from achilles.lineReceiver.dialling import dial

def newest():
    link = dial(load_settings(**where))
    link.close()
    return link.welcome.client_id

where = dict(host="127.0.0.1", port=PORT, username="foo", secret_key="bar-of-the-tests")
print(map(abs, [[-1]], **where), flush=True)
unread = imap(abs, iter(range(20)), **where)
print(next(unread)["RESULT"][0], flush=True)
before = newest()
child = os.fork()
if child == 0:
    del unread
    gc.collect()
    if sys.argv[1] == "calls":
        print(map(abs, [[-2]], **where), flush=True)
    sys.exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status))
print(sum(len(packet["RESULT"]) for packet in unread) > 10)
print(map(abs, [[-3]], **where), newest() - before - 1, flush=True)
"""


@pytest.mark.parametrize("child", ["calls", "only ends"])
def test_a_forked_child_leaves_its_parents_connections_alone(pair: Cluster, how: str, child: str) -> None:
    variables = {"ACHILLES_LOCAL_SOCKET": "off"} if how == "tls" else {}
    code = FORKED.replace("PORT", str(pair.port))
    lines = run_program(pair.place, "forked.py", code, child, **variables)
    lines = [line for line in lines if line and not line.startswith("ALERT:")]
    calls = child == "calls"
    assert lines == ["[[1]]", "0", *(["[[2]]"] if calls else []), "0", "True", f"[[3]] {int(calls)}"]


LAST_CALL = """
import atexit, sys, threading, time
from achilles import map

where = dict(host="127.0.0.1", port=PORT, username="foo", secret_key="bar-of-the-tests")
if sys.argv[1] == "in a thread":
    threading.Thread(target=lambda: (time.sleep(0.1), map(abs, [[-2]], **where))).start()
if sys.argv[1] == "at exit":
    atexit.register(lambda: print(map(abs, [[-2]], **where)))
print(map(abs, [[-1]], **where))
started_s = time.monotonic()
atexit.register(lambda: print(time.monotonic() - started_s < 5.0))
if sys.argv[1] == "raises":
    sys.exit("as asked")
"""


@pytest.mark.parametrize("ends", ["plainly", "in a thread", "at exit", "raises"])
def test_the_end_of_a_program_leaves_nothing(pair: Cluster, how: str, ends: str) -> None:
    variables = {"ACHILLES_LOCAL_SOCKET": "off"} if how == "tls" else {}
    from tests.integration.cluster.parties import Party

    script = pair.place.write("last.py", LAST_CALL.replace("PORT", str(pair.port)))
    party = Party(["-X", "dev", "-W", "error", script, ends], place=pair.place, **variables)
    assert party.wait(10) == (1 if ends == "raises" else 0)
    said = [line for line in party.lines if line and not line.startswith("ALERT:")]
    more = {"at exit": ["[[2]]"], "raises": ["as asked"]}.get(ends, [])
    assert sorted(said) == sorted(["[[1]]", "True", *more])
    wait_until(lambda: getClusterStatus(**pair.with_key).server["controllers"] == 1, PROMPT_S)
