"""A server that knows the key and lies: the controller and the node as its victims."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import achilles
from achilles.engines.cluster import close_idle_connections
from achilles.errors import AuthenticationError, ProtocolError, ServerUnreachable
from achilles.lineReceiver import dialling
from achilles.lineReceiver import messages as wire
from tests.hostile.speaking import LyingServer, Speaker
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Party, Place

WHO: dict[str, Any] = {"username": USERNAME, "secret_key": SECRET_KEY}


@pytest.fixture(autouse=True)
def over_tcp(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")


def ask(server: LyingServer) -> object:
    try:
        return achilles.map(abs, range(10), chunksize=2, host="127.0.0.1", port=server.port, **WHO)
    finally:
        close_idle_connections()  # the liar waits for us to hang up


def to_the_end(speaker: Speaker) -> None:
    while True:
        speaker.next()


def with_a_parcel(lie: Callable[[Speaker, wire.Parcel], None]) -> Callable[[Speaker], None]:
    def script(speaker: Speaker) -> None:
        job = speaker.expect(wire.Submit).job
        speaker.send(wire.Demand(job=job, node=0, cpu_count=1, packets=1, grant=0))
        lie(speaker, speaker.expect(wire.Parcel))
        to_the_end(speaker)

    return script


def results(*segments: tuple[int, int, int, int, int]) -> Callable[[Speaker, wire.Parcel], None]:
    def lie(speaker: Speaker, parcel: wire.Parcel) -> None:
        speaker.send(wire.Results(parcel.job, parcel.parcel, 1, list(segments)), b"x")

    return lie


def frame(kind: type, **fields: Any) -> Callable[[Speaker, wire.Parcel], None]:
    return lambda speaker, parcel: speaker.send(kind(job=parcel.job, **fields))


LIES: dict[str, tuple[Callable[[Speaker, wire.Parcel], None], str]] = {
    "outside": (results((5, 2, 0, 1, 1)), "results of parcel 0 hold"),
    "overlapping": (results((0, 2, 0, 1, 1), (1, 1, 0, 1, 0)), "results of parcel 0 hold"),
    "absurd": (results((0, 2**62, 0, 2**62, 1)), "results of parcel 0 hold"),
    "done too early": (frame(wire.Finished), "results are missing"),
    "never sent": (frame(wire.Resend, parcel=9, attempt=2, node=0), "never sent"),
    "sent already": (frame(wire.Resend, parcel=0, attempt=1, node=0), "again"),
    "no slots": (frame(wire.Demand, node=0, cpu_count=0, packets=1, grant=0), "slots"),
    "no packets": (frame(wire.Demand, node=0, cpu_count=1, packets=0, grant=0), "slots"),
    "slots": (
        lambda speaker, parcel: speaker.raw(
            b'{"type":"demand","job":1,"node":0,"cpu_count":99999999,"packets":1,"grant":0}\r\n'
        ),
        "cpu_count",
    ),
    "out of role": (lambda speaker, parcel: speaker.send(wire.Exit()), "not allowed here"),
    "garbage": (lambda speaker, parcel: speaker.raw(b"\x80\x05garbage\r\n"), "starts with"),
    "deep": (lambda speaker, parcel: speaker.raw(b'{"type":' + b"[" * 9000 + b"\r\n"), "not valid"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_controller_sees_through_a_lie(tmp_path: Path, name: str) -> None:
    lie, because = LIES[name]
    with (
        LyingServer(tmp_path, with_a_parcel(lie)) as server,
        pytest.raises(ProtocolError, match=because) as caught,
    ):
        ask(server)
    assert SECRET_KEY not in str(caught.value)


def test_results_of_unknown_parcels_and_jobs_are_passed_over(tmp_path: Path) -> None:
    def lie(speaker: Speaker, parcel: wire.Parcel) -> None:
        for number in range(500):
            speaker.send(wire.Results(parcel.job, 7 + number, 1, [(0, 2, 0, 1, 1)]), b"x")
            speaker.send(wire.Results(99, number, 1, [(0, 2, 0, 1, 1)]), b"x")
            speaker.send(wire.Failed(job=99, code="lost", message="?", parcel=number))
        speaker.send(wire.Failed(job=parcel.job, code="internal", message="\x1b[31mred"))

    with (
        LyingServer(tmp_path, with_a_parcel(lie)) as server,
        pytest.raises(achilles.errors.ClusterError, match=r"cannot run on this cluster: \?\[31mred"),
    ):
        ask(server)


def test_only_the_users_own_modules_leave_the_controller(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "os", "test.support", "msgspec", "achilles.config", "a/b", "..", "", "é.x"]
    answers: list[tuple[wire.Message, bytes]] = []

    def lie(speaker: Speaker, parcel: wire.Parcel) -> None:
        for request, name in enumerate(names):
            speaker.send(wire.Fetch(job=parcel.job, request=request, module=name))
            answers.append(speaker.next())
        speaker.send(wire.Failed(job=parcel.job, code="internal", message="enough"))

    with (
        LyingServer(tmp_path, with_a_parcel(lie)) as server,
        pytest.raises(achilles.errors.ClusterError, match="enough"),
    ):
        ask(server)
    assert len(answers) == len(names)
    for message, source in answers:
        assert isinstance(message, wire.Fetched) and not message.found and source == b""


def test_a_lie_that_comes_with_the_welcome(tmp_path: Path) -> None:
    with (
        LyingServer(tmp_path, lambda speaker: speaker.send(wire.Exit())) as server,
        pytest.raises(ProtocolError, match="not allowed here"),
    ):
        ask(server)


def test_a_server_without_the_key_gets_no_work(tmp_path: Path) -> None:
    said: list[wire.Message] = []

    def script(speaker: Speaker) -> None:
        said.append(speaker.next()[0])
        speaker.send(wire.Welcome(server_final="v=AAAA"))
        said.append(speaker.next()[0])

    with (
        LyingServer(tmp_path, script, honest_login=False) as server,
        pytest.raises(AuthenticationError, match="could not prove"),
    ):
        ask(server)
    assert [type(message) for message in said] == [wire.Hello, wire.Error]


def test_a_server_that_sends_a_byte_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "DIAL_TIMEOUT_S", 0.5)

    def script(speaker: Speaker) -> None:
        speaker.next()
        for _ in range(200):
            speaker.raw(b"{")
            speaker.socket.settimeout(0.05)
            try:
                speaker.next()
            except TimeoutError:
                pass

    began_s = time.monotonic()
    with (
        LyingServer(tmp_path, script, honest_login=False) as server,
        pytest.raises(ServerUnreachable, match="no answer in time"),
    ):
        ask(server)
    assert time.monotonic() - began_s < 5


NODE = """
import logging
logging.basicConfig(level=logging.INFO)
from achilles.lineReceiver.achilles_node import runAchillesNode
runAchillesNode(host='127.0.0.1', port={port}, username={username!r}, secret_key={secret_key!r}, cpu_count=1)
"""


def job(number: int = 1) -> wire.Job:
    return wire.Job(job=number, function="0" * 64, session="s")


def twice(speaker: Speaker) -> None:
    speaker.send(job(), b"not a function")
    speaker.send(job(), b"not a function")


NODE_LIES: list[tuple[Callable[[Speaker], None], str]] = [
    (lambda speaker: speaker.send(wire.Parcel(5, 0, 1, 0, 0, 1, 1, [(1, 1)]), b"x"), "before the job"),
    (lambda speaker: speaker.send(job()), "without its function"),
    (lambda speaker: speaker.send(job(2**40), b"not a function"), "too large"),
    (twice, "introduced before"),
    (lambda speaker: speaker.send(wire.Job(1, "0" * 64, "s", slots=2), b"not a function"), "takes 2 slots"),
    (lambda speaker: speaker.raw(b"P 1 0 1 0 9223372036854775807 1 1 1:1 1\r\nx"), "counted"),
    (lambda speaker: speaker.raw(b"P 1 0 1 0 0 4294967296 1 4294967296:1 1\r\nx"), "counted"),
    (lambda speaker: speaker.send(wire.Capacity(nodes=1, slots=1)), "not allowed here"),
    (lambda speaker: speaker.raw(b"\x80\x05garbage\r\n"), "starts with"),
]


def test_a_node_outlives_all_lies(place: Place, tmp_path: Path) -> None:
    """It says why, leaves, and comes again; each login meets the next lie."""
    heard: list[tuple[str, str]] = []

    def script(speaker: Speaker) -> None:
        if len(heard) == len(NODE_LIES):
            speaker.send(wire.Fetched(job=1, request=9, found=True), b"nobody asked")
            speaker.send(wire.Exit())
            to_the_end(speaker)
        lie, because = NODE_LIES[len(heard)]
        lie(speaker)
        message, _ = speaker.next()
        heard.append((because, getattr(message, "message", repr(message))))

    with LyingServer(tmp_path, script) as server:
        code = NODE.format(port=server.port, username=USERNAME, secret_key=SECRET_KEY)
        node = Party(["-c", code], place=place, python=sys.executable, ACHILLES_LOCAL_SOCKET="off")
        try:
            assert node.wait() == 0
        except BaseException:
            node.stop(signal.SIGKILL)
            raise
    assert len(heard) == len(NODE_LIES)
    for because, said in heard:
        assert because in said
    node.check_output()
    assert SECRET_KEY not in node.text and "garbage" not in node.text
