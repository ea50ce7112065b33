"""Broadcast objects among liars: who asks for too much, and who sends something else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import Any

import psutil
import pytest

import achilles
from achilles import Broadcast, BroadcastLost, sealed
from achilles.engines.cluster import close_idle_connections
from achilles.limits import PIECE_BYTES
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.server_fetches import MAX_FETCHES, MAX_UNREAD_BYTES
from achilles.lineReceiver.wire import frame_segments
from achilles.serialization import deserialize, join, load_failure, serialize
from tests.hostile.speaking import LyingServer, Speaker, connect, log_in
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Cluster, Party, Place, wait_until

NAME = hashlib.sha256(b"a blob").hexdigest()
FUNCTION = b"a function"
HASH = hashlib.sha256(FUNCTION).hexdigest()
SIZE = 1_000_000
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@pytest.fixture
def stage(victim: Cluster) -> Iterator[ExitStack]:
    """Closes the speakers; then the server holds no more descriptors than before."""
    process = psutil.Process(victim.server.pid)
    before = process.num_fds()
    with ExitStack() as stack:
        yield stack
    wait_until(lambda: process.num_fds() <= before, what="for the server's descriptors")


def come(stage: ExitStack, victim: Cluster, role: str, how: str = "unix", **more: Any) -> Speaker:
    return log_in(stage.enter_context(connect(victim, how)), role, **more)


def at_work(
    stage: ExitStack, victim: Cluster, *, how: str = "unix", descriptors: bool = False
) -> tuple[Speaker, Speaker, int]:
    """A controller, a node that works for it, and the node's number of the job."""
    controller = come(stage, victim, "controller", how, descriptors=descriptors)
    node = come(stage, victim, "node", how, descriptors=descriptors)
    controller.send(wire.Submit(job=1, function=HASH, session="s", chunksize=2), FUNCTION)
    demand = controller.expect(wire.Demand)
    controller.send(wire.Parcel(1, 0, 1, demand.node, 0, 2, 2, [(2, 4)]), b"args")
    job = node.expect(wire.Job).job
    node.expect(wire.Parcel)
    return controller, node, job


def until(speaker: Speaker, kind: type) -> Any:
    """The next frame of this type; demands and the like are none of this test's business."""
    while not isinstance(message := speaker.next()[0], kind):
        pass
    return message


def question(job: int, request: int = 1, **changed: Any) -> wire.FetchBlob:
    fields = {"total": SIZE, "start": 0, "most": PIECE_BYTES, "sha256": NAME, **changed}
    return wire.FetchBlob(job=job, request=request, **fields)


# Nodes at the server.


def test_a_node_may_only_ask_for_blobs_of_its_jobs(victim: Cluster, stage: ExitStack) -> None:
    controller = come(stage, victim, "controller")
    controller.send(
        wire.Submit(job=1, function=HASH, session="s", chunksize=2, python=(3, 99)), FUNCTION
    )  # no node can run it, so none works for it
    spy = come(stage, victim, "node")
    for job in range(200):
        spy.send(question(job, job))
        assert not spy.expect(wire.Blob).found
    controller.send(wire.Status())
    while not isinstance(message := controller.next()[0], wire.StatusReply):
        assert isinstance(message, wire.Failed)


def test_a_node_that_asks_without_end(victim: Cluster, stage: ExitStack) -> None:
    _, node, job = at_work(stage, victim)
    for request in range(MAX_FETCHES + 1):
        node.send(question(job, request))
    node.refused(f"at most {MAX_FETCHES} modules and pieces")


@pytest.mark.parametrize("most", [0, PIECE_BYTES + 1, 2**62])
def test_pieces_have_bounds(victim: Cluster, stage: ExitStack, most: int) -> None:
    _, node, job = at_work(stage, victim)
    header = (
        f'{{"type":"fetch_blob","job":{job},"request":1,"sha256":"{NAME}","total":5,"start":0,"most":{most}}}'
    )
    node.raw(header.encode() + b"\r\n")
    node.refused("most")


@pytest.mark.parametrize("how", ["unix", "tls"])
def test_a_node_that_asks_and_does_not_read_makes_the_server_keep_little(
    victim: Cluster, stage: ExitStack, how: str
) -> None:
    """The fixture holds the server's growth; what it lets through says how much it is prepared to keep."""
    controller, node, job = at_work(stage, victim, how=how)
    piece = bytes(PIECE_BYTES)
    for request in range(200):
        node.send(question(job, request))

    def answer(most: int, patience_s: float = 20) -> int:
        """Answer so many questions, or until nothing is asked for so long."""
        answered = 0
        while answered < most:
            controller.socket.settimeout(patience_s)
            try:
                asked = until(controller, wire.FetchBlob)
            except TimeoutError:
                return answered
            finally:
                controller.socket.settimeout(20)
            controller.send(wire.Blob(job=1, request=asked.request, found=True, total=SIZE), piece)
            answered += 1
        return answered

    answered = answer(200, patience_s=1.0)
    in_sockets = 8 * PIECE_BYTES
    assert 0 < answered * PIECE_BYTES <= MAX_UNREAD_BYTES + in_sockets
    # Once it reads it gets what it asked for, in order.
    answering = threading.Thread(target=answer, args=(200 - answered,))
    answering.start()
    for number in range(200):
        message, payload = node.next()
        assert isinstance(message, wire.Blob)
        assert (message.job, message.request, len(payload)) == (job, number, PIECE_BYTES)
    answering.join()


def test_a_node_that_leaves_while_its_questions_wait(victim: Cluster, stage: ExitStack) -> None:
    controller, node, job = at_work(stage, victim)
    for request in range(300):
        node.send(question(job, request))
    until(controller, wire.FetchBlob)
    node.socket.close()
    # Another one is not held up by what that one asked for and never got.
    other = come(stage, victim, "node")
    other.send(question(job))
    assert not other.expect(wire.Blob).found


# Controllers at the server.


def test_a_controller_that_sends_more_than_was_asked_for(victim: Cluster, stage: ExitStack) -> None:
    controller, node, job = at_work(stage, victim)
    node.send(question(job, most=10))
    asked = until(controller, wire.FetchBlob)
    controller.send(wire.Blob(job=1, request=asked.request, found=True, total=SIZE), b"x" * 11)
    controller.refused("at most 10 bytes")


def test_pieces_that_nobody_asked_for(victim: Cluster, stage: ExitStack) -> None:
    controller, node, job = at_work(stage, victim)
    for request in range(50):
        controller.send(wire.Blob(job=1, request=request, found=True, total=SIZE), bytes(PIECE_BYTES))
    node.send(question(job))
    asked = until(controller, wire.FetchBlob)
    controller.send(wire.Blob(job=9, request=asked.request, found=True), b"of another job")
    controller.send(wire.Fetched(job=1, request=asked.request, found=True), b"another kind of answer")
    controller.send(wire.Blob(job=1, request=asked.request, found=True), b"this")
    message, payload = node.next()
    assert isinstance(message, wire.Blob) and message.request == 1 and payload == b"this"
    controller.send(wire.Blob(job=1, request=0, found=True), bytes(PIECE_BYTES + 1))
    controller.refused("at most")


# Shared memory.


def memory(size: int = SIZE, seals: int = SEALS) -> int:
    number = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
    os.write(number, b"x" * size)
    fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals)
    return number


def send_beside(speaker: Speaker, message: wire.Message, number: int | None) -> None:
    data = bytes(frame_segments(message)[0])
    if number is None:
        speaker.raw(data)
        return
    try:
        assert socket.send_fds(speaker.socket, [data], [number]) == len(data)
    finally:
        os.close(number)


BAD: dict[str, tuple[Callable[[], int] | None, str]] = {
    "none": (None, "none came"),
    "not sealed": (lambda: memory(seals=0), "not of sealed memory"),
    "too short": (lambda: memory(SIZE - 1), f"of {SIZE} bytes came by a descriptor of {SIZE - 1} bytes"),
    "too long": (lambda: memory(SIZE + 1), f"of {SIZE} bytes came by a descriptor of {SIZE + 1} bytes"),
    "a directory": (lambda: os.open("/", os.O_RDONLY), "not of sealed memory"),
}
needs_memory = pytest.mark.skipif(not sealed.available(), reason="this system has no sealed memory")


@needs_memory
@pytest.mark.parametrize("bad", BAD)
def test_something_else_than_the_memory_that_is_announced(
    victim: Cluster, stage: ExitStack, bad: str
) -> None:
    controller, node, job = at_work(stage, victim, descriptors=True)
    node.send(question(job, descriptor=True))
    asked = until(controller, wire.FetchBlob)
    assert asked.descriptor
    make, reason = BAD[bad]
    answer = wire.Blob(job=1, request=asked.request, found=True, total=SIZE, descriptor=True)
    send_beside(controller, answer, make and make())
    controller.refused(reason)


@needs_memory
def test_memory_where_bytes_were_asked_for(victim: Cluster, stage: ExitStack) -> None:
    controller, node, job = at_work(stage, victim, descriptors=True)
    node.send(question(job, start=1, descriptor=False))
    asked = until(controller, wire.FetchBlob)
    answer = wire.Blob(job=1, request=asked.request, found=True, total=SIZE, descriptor=True)
    send_beside(controller, answer, memory())
    controller.refused("was asked for")


@needs_memory
@pytest.mark.parametrize("how", ["unix", "tls"])
def test_memory_that_nobody_agreed_to(victim: Cluster, stage: ExitStack, how: str) -> None:
    controller, node, job = at_work(stage, victim, how=how)
    node.send(question(job, descriptor=True))
    asked = until(controller, wire.FetchBlob)
    assert not asked.descriptor
    controller.send(wire.Blob(job=1, request=asked.request, found=True, total=SIZE, descriptor=True))
    controller.refused("nobody agreed")


@needs_memory
def test_the_memory_reaches_the_node(victim: Cluster, stage: ExitStack) -> None:
    controller, node, job = at_work(stage, victim, descriptors=True)
    node.send(question(job, request=5, descriptor=True))
    asked = until(controller, wire.FetchBlob)
    answer = wire.Blob(job=1, request=asked.request, found=True, total=SIZE, descriptor=True)
    send_beside(controller, answer, memory())
    numbers: list[int] = []
    messages: list[wire.Message] = []
    try:
        while not any(isinstance(message, wire.Blob) for message in messages):
            data, more, _, _ = socket.recv_fds(node.socket, 65_536, 8)
            numbers += more
            messages += [message for message, _ in node.parser.feed(data)]
        (came,) = [message for message in messages if isinstance(message, wire.Blob)]
        assert (came.job, came.request, came.total, came.descriptor) == (job, 5, SIZE, True)
        assert os.pread(numbers[0], SIZE + 1, 0) == b"x" * SIZE
    finally:
        for each in numbers:
            os.close(each)


# A server, or a controller behind it, that lies to a node.

NODE = """
from achilles.lineReceiver.achilles_node import runAchillesNode
runAchillesNode(host='127.0.0.1', port={port}, username={username!r}, secret_key={secret_key!r}, cpu_count=1)
"""
CONTENT = bytes(range(256)) * (3 * PIECE_BYTES // 256)

Answer = Callable[[wire.FetchBlob, bytes], tuple[wire.Blob, bytes]]


def reply(asked: wire.FetchBlob, payload: bytes, **changed: Any) -> tuple[wire.Blob, bytes]:
    fields = {"found": True, "total": asked.total, "start": asked.start, **changed}
    return wire.Blob(job=asked.job, request=asked.request, **fields), payload


NODE_LIES: list[tuple[Answer, str]] = [
    (lambda asked, piece: reply(asked, bytes(len(piece))), "another SHA-256"),
    (lambda asked, piece: reply(asked, piece, total=asked.total + 1), "not what was asked for"),
    (lambda asked, piece: reply(asked, piece, start=asked.start + 1), "not what was asked for"),
    (lambda asked, piece: reply(asked, piece, start=2**62), "not what was asked for"),
    (lambda asked, piece: reply(asked, piece[:-1]), "not what was asked for"),
    (lambda asked, piece: reply(asked, piece + b"x"), "not what was asked for"),
    (lambda asked, piece: reply(asked, b""), "not what was asked for"),
    (lambda asked, piece: reply(asked, b"", found=False, reason="it is gone"), "it is gone"),
]


def test_a_node_believes_nothing(place: Place, tmp_path: Path) -> None:
    """Whatever it is sent, the task fails and the node goes on; with the truth the task succeeds."""
    handle = Broadcast(CONTENT)
    content = join(serialize(CONTENT, "it"))
    function = join(serialize((attrgetter("value"), None, None, "raise"), "it"))
    unit = join(serialize([handle], "it"))
    heard: list[tuple[int, Any]] = []

    def script(speaker: Speaker) -> None:
        def run(number: int, answer: Answer) -> None:
            speaker.send(wire.Job(job=number, function=HASH, session="s"), bytes(function))
            speaker.send(wire.Parcel(number, 0, 1, 0, 0, 1, 1, [(1, len(unit))]), bytes(unit))
            while True:
                message, payload = speaker.next()
                if isinstance(message, wire.Results):
                    heard.append((message.segments[0][2], deserialize(bytearray(payload), "results")))
                    break
                assert isinstance(message, wire.FetchBlob), message
                assert (message.sha256, message.total) == (handle.sha256, len(content))
                speaker.send(*answer(message, bytes(content[message.start : message.start + message.most])))
            speaker.send(wire.Forget(job=number))

        for number, (lie, _) in enumerate(NODE_LIES, 1):
            run(number, lie)
        run(99, lambda asked, piece: reply(asked, piece))
        speaker.send(wire.Exit())
        try:
            while True:
                speaker.next()
        except EOFError:
            pass

    with LyingServer(tmp_path, script) as server:
        code = NODE.format(port=server.port, username=USERNAME, secret_key=SECRET_KEY)
        node = Party(["-c", code], place=place, python=sys.executable, ACHILLES_LOCAL_SOCKET="off")
        try:
            assert node.wait() == 0
        except BaseException:
            node.stop(signal.SIGKILL)
            raise
    node.check_output()
    (status, values), *lies = reversed(heard)
    assert (status, values) == (0, [CONTENT])
    assert len(lies) == len(NODE_LIES)
    for (status, (_, failures)), (_, because) in zip(reversed(lies), NODE_LIES, strict=True):
        assert status == 1
        error = load_failure(failures[0][1])
        assert isinstance(error, BroadcastLost) and because in str(error)


# A server that asks a controller for more than it has.


def test_a_controller_answers_with_what_it_has_registered_alone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACHILLES_LOCAL_SOCKET", "off")
    handle = Broadcast(CONTENT)
    released = Broadcast(b"released" * PIECE_BYTES)
    released.release()
    content = bytes(join(serialize(CONTENT, "it")))
    end = handle.size_bytes
    questions = [
        (question(1, sha256=""), None),
        (question(1, sha256=hashlib.sha256(b"").hexdigest(), total=0), None),
        (question(1, sha256=released.sha256, total=released.size_bytes), None),
        (question(1, sha256=handle.sha256, total=end + 1), None),
        (question(1, sha256=handle.sha256, total=end, start=end), None),
        (question(1, sha256=handle.sha256, total=end, start=2**62), None),
        (question(1, sha256=handle.sha256, total=end, start=3, most=5), content[3:8]),
        (question(1, sha256=handle.sha256, total=end, start=end - 2, most=9), content[-2:]),
        (question(1, sha256=handle.sha256, total=end, descriptor=True), content[:PIECE_BYTES]),
    ]
    found: list[bytes | None] = []

    def script(speaker: Speaker) -> None:
        job = speaker.expect(wire.Submit).job
        speaker.send(wire.Demand(job=job, node=0, cpu_count=1, packets=1, grant=0))
        speaker.expect(wire.Parcel)
        speaker.send(question(job + 5, sha256=handle.sha256, total=end))  # of no job: no answer
        for asked, _ in questions:
            asked.job = job
            speaker.send(asked)
            message, payload = speaker.next()
            while isinstance(message, wire.Exhausted):
                message, payload = speaker.next()
            assert isinstance(message, wire.Blob) and not message.descriptor
            found.append(payload if message.found else None)
            assert bool(payload) == message.found
        speaker.send(wire.Failed(job=job, code="internal", message="enough"))

    def ask(port: int) -> None:
        who: dict[str, Any] = {"username": USERNAME, "secret_key": SECRET_KEY}
        try:
            achilles.map(len, [[handle]] * 10, chunksize=2, host="127.0.0.1", port=port, **who)
        finally:
            close_idle_connections()

    with (
        LyingServer(tmp_path, script) as server,
        pytest.raises(achilles.errors.ClusterError, match="enough"),
    ):
        ask(server.port)
    assert found == [expected for _, expected in questions]
